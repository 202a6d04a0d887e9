// Package deploy holds no code, only the tests that boot a systemd: the unit of deploy/systemd as
// systemd reads and judges it, the program under a systemd that runs, and the packages installed
// beside one.
package deploy
