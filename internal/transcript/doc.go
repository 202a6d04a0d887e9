// Package transcript keeps what a daemon under test says. Tests alone import it.
package transcript
