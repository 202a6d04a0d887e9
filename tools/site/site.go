package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// site is every file of the site, by its path with slashes.
type site map[string][]byte

//go:embed style.css
var style []byte

//go:embed page.html
var layout string

var pageTemplate = template.Must(template.New("page").Parse(layout))

// index is the page whose headings and links are the navigation.
const index = "docs/README.md"

// render makes the site of the project in root.
func render(root fs.FS) (site, error) {
	pages, err := markdown(root)
	if err != nil {
		return nil, err
	}
	b := &builder{root: root, pages: pages, out: site{"style.css": style}, md: goldmark.New(
		goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))}
	if b.nav, err = b.navigation(); err != nil {
		return nil, err
	}
	for _, name := range pages {
		if err := b.page(name); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return b.out, nil
}

// markdown are the pages of the site, sorted.
func markdown(root fs.FS) ([]string, error) {
	names := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
	err := fs.WalkDir(root, "docs", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && path.Ext(name) == ".md" {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

type builder struct {
	root  fs.FS
	pages []string
	out   site
	md    goldmark.Markdown
	nav   []section
}

// section is a part of the navigation.
type section struct {
	Title string
	Links []link
}

type link struct {
	Title, To string // To is a path of the site
	Here      bool
}

// target is where a page of the project is on the site.
func target(name string) string {
	if dir, file := path.Split(name); file == "README.md" {
		return dir + "index.html"
	}
	return strings.TrimSuffix(name, ".md") + ".html"
}

func (b *builder) parse(name string) (ast.Node, []byte, error) {
	src, err := fs.ReadFile(b.root, name)
	if err != nil {
		return nil, nil, err
	}
	doc := b.md.Parser().Parse(text.NewReader(src), parser.WithContext(parser.NewContext(parser.WithIDs(&anchors{used: map[string]int{}}))))
	return doc, src, nil
}

// navigation is what the index links to, below its headings.
func (b *builder) navigation() ([]section, error) {
	doc, src, err := b.parse(index)
	if err != nil {
		return nil, err
	}
	var all []section
	seen := map[string]bool{}
	err = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Heading:
			if entering && n.Level == 2 {
				all = append(all, section{Title: words(n, src)})
			}
		case *ast.Link:
			to, ok := b.within(index, string(n.Destination))
			to, _, _ = strings.Cut(to, "#")
			if entering && ok && len(all) > 0 && !seen[to] && strings.HasSuffix(to, ".html") {
				seen[to] = true
				last := &all[len(all)-1]
				last.Links = append(last.Links, link{Title: words(n, src), To: to})
			}
		}
		return ast.WalkContinue, nil
	})
	return slices.DeleteFunc(all, func(s section) bool { return len(s.Links) == 0 }), err
}

// within is where a link of a page leads on the site, from its root; false for links to
// elsewhere.
func (b *builder) within(from, dest string) (string, bool) {
	u, err := url.Parse(dest)
	if err != nil || u.IsAbs() || u.Host != "" || u.Path == "" {
		return "", false
	}
	to := path.Join(path.Dir(from), u.Path)
	if slices.Contains(b.pages, to) {
		to = target(to)
	}
	if u.Fragment != "" {
		to += "#" + u.Fragment
	}
	return to, true
}

// page renders one page, and takes in the files that it links to.
func (b *builder) page(name string) error {
	doc, src, err := b.parse(name)
	if err != nil {
		return err
	}
	if err := b.relink(doc, name); err != nil {
		return err
	}
	var body bytes.Buffer
	if err := b.md.Renderer().Render(&body, src, doc); err != nil {
		return err
	}
	here := target(name)
	up := strings.Repeat("../", strings.Count(here, "/"))
	nav := slices.Clone(b.nav)
	for i := range nav {
		nav[i].Links = slices.Clone(nav[i].Links)
		for j := range nav[i].Links {
			l := &nav[i].Links[j]
			l.Here, l.To = l.To == here, up+l.To
		}
	}
	var out bytes.Buffer
	err = pageTemplate.Execute(&out, struct {
		Title, Up string
		Nav       []section
		Body      template.HTML // ours: goldmark leaves raw HTML out
	}{title(doc, src), up, nav, template.HTML(body.String())})
	b.out[here] = out.Bytes()
	return err
}

// relink makes the links of a page those of the site. A file of the project that is
// linked to is taken along; a folder is not there.
func (b *builder) relink(doc ast.Node, name string) error {
	var folders []*ast.Link
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if i, ok := n.(*ast.Image); ok && entering {
			return ast.WalkContinue, b.picture(i, name)
		}
		l, ok := n.(*ast.Link)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		to, ok := b.within(name, string(l.Destination))
		if !ok {
			return ast.WalkContinue, nil
		}
		file, _, _ := strings.Cut(to, "#")
		switch info, err := fs.Stat(b.root, file); {
		case strings.HasSuffix(file, ".html"):
		case err != nil:
			return ast.WalkStop, fmt.Errorf("the link %s: %w", l.Destination, err)
		case info.IsDir():
			folders = append(folders, l)
			return ast.WalkContinue, nil
		default:
			if b.out[file], err = fs.ReadFile(b.root, file); err != nil {
				return ast.WalkStop, err
			}
		}
		l.Destination = []byte(strings.Repeat("../", strings.Count(target(name), "/")) + to)
		return ast.WalkContinue, nil
	})
	for _, l := range folders { // its words stay
		for c := l.FirstChild(); c != nil; c = l.FirstChild() {
			l.Parent().InsertBefore(l.Parent(), l, c)
		}
		l.Parent().RemoveChild(l.Parent(), l)
	}
	return err
}

// picture takes a picture of the project along.
func (b *builder) picture(i *ast.Image, name string) (err error) {
	file, ok := b.within(name, string(i.Destination))
	if !ok {
		return nil
	}
	if b.out[file], err = fs.ReadFile(b.root, file); err != nil {
		return fmt.Errorf("the picture %s: %w", i.Destination, err)
	}
	i.Destination = []byte(strings.Repeat("../", strings.Count(target(name), "/")) + file)
	return nil
}

func title(doc ast.Node, src []byte) string {
	for n := doc.FirstChild(); n != nil; n = n.NextSibling() {
		if h, ok := n.(*ast.Heading); ok && h.Level == 1 {
			return words(h, src)
		}
	}
	return "tdscaler"
}

// words is the text of a node, without its markup.
func words(n ast.Node, src []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // it never fails
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(src))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchors names headings as the places do where the Markdown is read unrendered.
type anchors struct{ used map[string]int }

// Generate implements parser.IDs.
func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	id := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, string(util.TrimLeftSpace(util.TrimRightSpace(value))))
	n := a.used[id]
	a.used[id]++
	if n > 0 {
		id = fmt.Sprintf("%s-%d", id, n)
	}
	return []byte(id)
}

// Put implements parser.IDs.
func (a *anchors) Put(value []byte) { a.used[string(value)]++ }

var (
	reference = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	named     = regexp.MustCompile(` id="([^"]*)"`)
	loaded    = regexp.MustCompile(`(?i)<(?:script|img|iframe|link|source|object|embed)\b[^>]*(?:src|href)="(?:[a-z]+:)?//|@import|url\(`)
)

// problems are links that lead nowhere, and what a browser would fetch from elsewhere.
func (s site) problems() (all []error) {
	for name, b := range s {
		if loaded.Match(b) && path.Ext(name) != ".md" {
			all = append(all, fmt.Errorf("%s: it loads something from elsewhere: %q", name, loaded.Find(b)))
		}
		if path.Ext(name) != ".html" {
			continue
		}
		for _, m := range reference.FindAllSubmatch(b, -1) {
			if err := s.follow(name, html.UnescapeString(string(m[1]))); err != nil {
				all = append(all, fmt.Errorf("%s: %s: %w", name, m[1], err))
			}
		}
	}
	return all
}

func (s site) follow(from, to string) error {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() {
		return err
	}
	file := from
	if u.Path != "" {
		file = path.Join(path.Dir(from), u.Path)
	}
	b, ok := s[file]
	if !ok {
		return errors.New("there is no such file")
	}
	if u.Fragment == "" {
		return nil
	}
	for _, m := range named.FindAllSubmatch(b, -1) {
		if string(m[1]) == u.Fragment {
			return nil
		}
	}
	return fmt.Errorf("%s has no such heading", file)
}
