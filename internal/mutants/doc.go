// Package mutants breaks the rules on purpose, one at a time, and demands that the
// test that is said to hold each rule fails. It holds tests only: the list, a check
// that the list still fits the code, and, with TDSCALER_MUTANTS=1 (make mutants), the
// breaking itself. The sources are not touched: the compiler is given an overlay.
package mutants
