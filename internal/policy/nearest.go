package policy

import "strings"

// Nearest finds what was probably meant: the candidate with the fewest edits, if
// they are few for its length. The first of equals wins.
func Nearest(word string, candidates []string) (string, bool) {
	if len(word) > 64 {
		return "", false
	}
	word = strings.ToLower(strings.ReplaceAll(word, "-", "_"))
	best, fewest := "", len(word)
	for _, c := range candidates {
		n := edits(word, strings.ToLower(strings.ReplaceAll(c, "-", "_")))
		if n < fewest && n <= 1+len(c)/4 {
			best, fewest = c, n
		}
	}
	return best, best != ""
}

// edits counts insertions, deletions, replacements and swaps of neighbours
// between two words.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(y)]
}
