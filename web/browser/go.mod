module github.com/shoalnet/shoal/web/browser

go 1.26.0
