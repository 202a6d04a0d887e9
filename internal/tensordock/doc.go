// Package tensordock speaks to TensorDock's two APIs: v0, the marketplace with
// its spot auction, and v2, the instances API.
//
// It owns the wire: paths, parameters, every shape an answer has been seen in or
// is documented in, pacing, retries of reads, and the sorting of failures into
// market.Class. It must not decide anything, keep state between calls (beyond
// pacing), or let a wire type, a credential or a float price leave.
//
// Answers are read with a small walker over the raw JSON (see value) and not into
// structs: the same field comes as number or string, object or array, wrapped or
// bare, and one unreadable field must not take the rest of the answer with it.
// It also hands money on as the digits the market wrote.
//
// Invariants:
//   - A write is sent at most once. Its error is ClassAmbiguous unless the answer,
//     or the lack of a connection, proves that nothing happened. A server's error
//     (5xx) proves it only in words that can mean nothing else.
//   - What is not told stays unknown: a machine without a GPU count has 0.
//   - A list of machines is whole or an error. Hosts may be dropped one by one.
//   - Reader has no method that changes anything.
//   - No error, Call or formatted value holds a key, a token or a password.
package tensordock
