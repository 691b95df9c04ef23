package qcow2blk

import "strconv"

// wordOf names a number of an enumeration; those that a newer library has added stay numbers.
func wordOf(number int, words ...string) string {
	if number < 0 || number >= len(words) {
		return strconv.Itoa(number)
	}
	return words[number]
}
