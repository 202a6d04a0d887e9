// Package shipping holds the tests of the image, the manifests and the packages under
// deploy: files that no compiler reads, held against each other and against the program
// that they start. What needs a systemd is in internal/deploy.
//
// It owns nothing that runs.
package shipping
