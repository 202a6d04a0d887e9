// Package deploy holds no code, only the tests of what deploy/systemd has: the unit as systemd reads
// and judges it, and the program under a systemd that runs.
package deploy
