// Package deploy holds the tests of what lies under deploy: files that no compiler
// reads, held against each other and against the program that they start.
//
// It owns nothing that runs.
package deploy
