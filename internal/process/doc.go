// Package process holds no code, only the tests of the built program as a process:
// killed again and again, behind a network that breaks, over thousands of cycles,
// and with everything it writes searched for secrets. What they find is judged
// from the market's side.
package process
