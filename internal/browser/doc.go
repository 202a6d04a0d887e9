// Package browser holds no code, only the tests of the pages in a real Chromium: that they
// load without a complaint, follow the daemon, can be filtered, read aloud, used by keyboard
// and on a phone, and with no script at all. It also takes the pictures of docs/web.md.
//
// It is a module of its own, for the sake of what drives a browser. `make test-web` installs
// Chromium where it is missing; without one the tests are skipped, and say so.
package browser
