// The pages in a real Chromium, apart from the product's go.mod: what drives a browser
// would stand in the go.mod of everybody who builds tdscaler, for tests alone.
module github.com/tdscaler/tdscaler/internal/browser

go 1.26.0

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
)

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
