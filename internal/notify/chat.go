package notify

import (
	"html"
	"mime"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// The most characters that each takes of a text, with room for markup; what the services
// allow is more, counted in their own ways.
const (
	slackText    = 3000
	discordTitle = 240
	discordText  = 3500
	telegramText = 3500
	ntfyBytes    = 3900 // beyond 4096 bytes ntfy makes a file of it
)

type slackMessage struct {
	Text        string            `json:"text"`
	Markdown    bool              `json:"mrkdwn"` // false: the title's words are no markup
	UnfurlLinks bool              `json:"unfurl_links"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Fallback string   `json:"fallback"`
	Color    string   `json:"color"`
	Text     string   `json:"text"`
	Markdown []string `json:"mrkdwn_in"` // which fields hold markup
}

// slackOf writes an incoming webhook's message, in the form that Mattermost and
// Rocket.Chat read as well. &, < and > are all that Slack obeys outside of markup:
// <!channel> would call everybody.
func slackOf(m *Message) slackMessage {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	title, text, markup := escape.Replace(m.headline()), escape.Replace(cut(lines(m.Body), slackText)), []string{}
	if m.Columns {
		text, markup = "```\n"+strings.ReplaceAll(text, "```", "'''")+"\n```", []string{"text"}
	}
	return slackMessage{Text: title, Attachments: []slackAttachment{{Fallback: title, Color: colourOf(m), Text: text, Markdown: markup}}}
}

// colourOf is green for what is over, else by how grave it is.
func colourOf(m *Message) string {
	switch {
	case m.Status == Resolved:
		return "#2e7d32"
	case m.Severity == policy.Critical:
		return "#c62828"
	case m.Severity == policy.Warning:
		return "#f9a825"
	}
	return "#546e7a"
}

type discordMessage struct {
	Embeds   []discordEmbed  `json:"embeds"`
	Mentions discordMentions `json:"allowed_mentions"`
}

// discordMentions with an empty list: nobody is called, whatever the text says.
type discordMentions struct {
	Parse []string `json:"parse"`
}

type discordEmbed struct {
	Title string `json:"title"`
	Text  string `json:"description"`
	Color int    `json:"color"`
}

func discordOf(m *Message) discordMessage {
	text := cut(lines(m.Body), discordText)
	if m.Columns {
		text = "```\n" + strings.ReplaceAll(text, "```", "'''") + "\n```"
	} else {
		text = discordEscape(text)
	}
	colours := map[string]int{"#2e7d32": 0x2e7d32, "#c62828": 0xc62828, "#f9a825": 0xf9a825, "#546e7a": 0x546e7a}
	e := discordEmbed{Title: discordEscape(cut(m.headline(), discordTitle)), Text: text, Color: colours[colourOf(m)]}
	return discordMessage{Embeds: []discordEmbed{e}, Mentions: discordMentions{Parse: []string{}}}
}

// discordEscape puts a backslash before whatever Markdown obeys; addresses stay what
// they are.
func discordEscape(s string) string {
	words := strings.SplitAfter(s, " ")
	for i, w := range words {
		if !strings.Contains(w, "https://") {
			words[i] = discordMarkup.Replace(w)
		}
	}
	return strings.Join(words, "")
}

var discordMarkup = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\*_~`|>#[]()<@" {
		pairs = append(pairs, string(c), `\`+string(c))
	}
	return strings.NewReplacer(pairs...)
}()

type telegramMessage struct {
	Chat  string              `json:"chat_id"`
	Text  string              `json:"text"`
	Mode  string              `json:"parse_mode"`
	Links telegramLinkPreview `json:"link_preview_options"`
}

type telegramLinkPreview struct {
	Disabled bool `json:"is_disabled"`
}

func telegramOf(m *Message, chat string) telegramMessage {
	text := html.EscapeString(cut(lines(m.Body), telegramText))
	if m.Columns {
		text = "<pre>" + text + "</pre>"
	}
	return telegramMessage{
		Chat: chat, Text: "<b>" + html.EscapeString(cut(m.headline(), discordTitle)) + "</b>\n" + text, Mode: "HTML", Links: telegramLinkPreview{Disabled: true},
	}
}

func ntfyText(m *Message) []byte {
	b := lines(m.Body)
	for most := ntfyBytes; len(b) > ntfyBytes; most -= 200 {
		b = cut(lines(m.Body), most)
	}
	return []byte(b)
}

// ntfyHeaders has the priorities of ntfy: 5 sounds through the night, 3 is the usual one.
func ntfyHeaders(m *Message) map[string]string {
	priority, tag := "3", "information_source"
	switch {
	case m.Status == Resolved:
		tag = "white_check_mark"
	case m.Severity == policy.Critical:
		priority, tag = "5", "rotating_light"
	case m.Severity == policy.Warning:
		priority, tag = "4", "warning"
	}
	return map[string]string{"Title": mime.QEncoding.Encode("utf-8", cut(m.headline(), discordTitle)), "Priority": priority, "Tags": tag}
}

// cloudEvent is CloudEvents 1.0 in its structured JSON form.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject,omitempty"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        *Message  `json:"data"`
}

func eventOf(m *Message) cloudEvent {
	return cloudEvent{
		SpecVersion: "1.0", ID: m.ID, Source: "/tdscaler/" + m.Owner, Type: "com.github.tdscaler." + string(m.Event) + "." + string(m.Status),
		Subject: m.Policy, Time: m.At.UTC(), ContentType: "application/json", Data: m,
	}
}
