// Package plot draws lines over time, as SVG or PNG, with nothing but the standard
// library.
//
// It draws what it is given and knows nothing of prices. Points are steps: a value
// holds until the next one, and a gap is left blank. Text goes into an SVG escaped.
package plot
