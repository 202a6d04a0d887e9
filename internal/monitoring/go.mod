module github.com/tdscaler/tdscaler/internal/monitoring

go 1.26.0
