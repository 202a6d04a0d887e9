// The documents as a site, apart from the product's go.mod.
module github.com/tdscaler/tdscaler/tools/site

go 1.26.0

require github.com/yuin/goldmark v1.8.7
