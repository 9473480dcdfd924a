package cli

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

//go:embed rollout.svg.tmpl
var svgText string

// The places of a drawing, in pixels.
const (
	svgWidth, svgLeft, svgRight = 860, 60, 844
	svgTop, svgBottom           = 64, 204
	lineHeight                  = 17
	mostText                    = 130 // characters in a line
)

// drawing is what the template shows. Texts are not escaped yet.
type drawing struct {
	Width, Height, Left, Right, LabelX   int
	TimeY, StripY, MarkY                 int
	LegendY, LegendTextY                 int
	Title, Desc, End                     string
	Area, Real, Plan                     string
	Levels, Times, Strips, Marks, Legend []shape
	Lines                                []shape
}

type shape struct {
	X, Y, W, TextX, TextY int
	Text, Class, Anchor   string
}

// writeSVG draws the rollout of a deployment: its weights, planned and in force, over
// time, what it waited for, the restarts of its hosts, what was counted at each step,
// and its end. The drawing has no scripts, and fits pages that are light or dark.
func writeSVG(out io.Writer, d *Deployment, now time.Time) error {
	if len(d.History) == 0 {
		return fmt.Errorf("%s has no history to draw: its rollout has not begun, or it ended under an earlier version of the controller", d.ID)
	}
	t, err := template.New("svg").Parse(svgText)
	if err != nil {
		return fmt.Errorf("parsing the template of drawings: %w", err)
	}
	pic := draw(d, spans(d.History, now))
	pic.escape()
	if err := t.Execute(out, pic); err != nil {
		return fmt.Errorf("drawing %s: %w", d.ID, err)
	}
	return nil
}

// draw places the shapes.
func draw(d *Deployment, all []span) *drawing {
	pic := &drawing{
		Width: svgWidth, Left: svgLeft, Right: svgRight, LabelX: svgLeft - 8, StripY: svgBottom + 8, MarkY: svgBottom - 12, TimeY: svgBottom + 34,
		LegendY: svgBottom + 46, LegendTextY: svgBottom + 55,
		Title: fmt.Sprintf("%s: %s@%s", d.ID, d.Model, d.Version), Desc: fmt.Sprintf("The rollout of %s: its share of the traffic over time.", d.ID),
		End: fmt.Sprintf("%s: %s", d.Status, d.Message),
	}
	first, last := all[0].At.Time, all[len(all)-1].until
	whole := max(time.Second, last.Sub(first))
	x := func(t time.Time) int {
		return svgLeft + int(max(0, min(1, float64(t.Sub(first))/float64(whole)))*(svgRight-svgLeft))
	}
	y := func(weight int32) int { return svgBottom - int(max(0, min(100, weight)))*(svgBottom-svgTop)/100 }
	for _, level := range []int32{0, 25, 50, 75, 100} {
		pic.Levels = append(pic.Levels, shape{Y: y(level), TextY: y(level) + 4, Text: fmt.Sprintf("%d %%", level)})
	}
	for i, anchor := range []string{"start", "middle", "middle", "middle", "end"} {
		at := first.Add(whole * time.Duration(i) / 4)
		pic.Times = append(pic.Times, shape{X: x(at), Text: at.UTC().Format("15:04:05"), Anchor: anchor})
	}
	pic.Times[0].Text = first.UTC().Format("2006-01-02 15:04:05")
	pic.Real, pic.Plan = stairs(all, x, y, func(s *span) int32 { return s.Weight }), stairs(all, x, y, func(s *span) int32 { return s.Planned })
	pic.Area = fmt.Sprintf("%sV%dH%dZ", pic.Real, svgBottom, svgLeft)
	for i := range all {
		s := &all[i]
		if !s.ended {
			pic.Strips = append(pic.Strips, shape{X: x(s.At.Time), W: max(1, x(s.until)-x(s.At.Time)), Class: classOf(s), Text: fmt.Sprintf("%s for %s: %s", s.does(), s.took().Round(time.Second), s.Message)})
		}
		if s.restarts > 0 {
			pic.Marks = append(pic.Marks, shape{X: x(s.At.Time), Text: fmt.Sprintf("hosts were started again after an error: %d", s.restarts)})
		}
	}
	at := svgLeft
	for _, l := range []struct{ class, text string }{
		{"real", "share in force"}, {"planned", "share planned"}, {"holds", "held"}, {"waits", "waiting"}, {"stands", "paused"}, {"back", "going back"}, {"mark", "restarts"},
	} {
		pic.Legend = append(pic.Legend, shape{X: at, TextX: at + 14, Text: l.text, Class: l.class})
		at += 34 + 7*len(l.text)
	}
	pic.Height = pic.say(all, svgBottom+82)
	return pic
}

// stairs returns the path of a value that changes at the beginning of moments.
func stairs(all []span, x func(time.Time) int, y func(int32) int, value func(*span) int32) string {
	var path strings.Builder
	for i := range all {
		letter := "H%dV%d"
		if i == 0 {
			letter = "M%d %d"
		}
		fmt.Fprintf(&path, letter, x(all[i].At.Time), y(value(&all[i])))
	}
	fmt.Fprintf(&path, "H%d", x(all[len(all)-1].until))
	return path.String()
}

// classOf returns the colour of a moment.
func classOf(s *span) string {
	switch s.State {
	case strategy.StateRecovering, strategy.StateDraining:
		return "back"
	case strategy.StateGating:
		return "holds"
	case strategy.StatePaused, strategy.StateBlocked, strategy.StateVerifying:
		return "stands"
	}
	return "waits"
}

// say writes a line for each step with what was counted, one for each moment that
// waited for something, and the end. It returns the height of the drawing.
func (pic *drawing) say(all []span, y int) int {
	write := func(x int, class, text string) {
		if r := []rune(text); len(r) > mostText {
			text = string(r[:mostText-1]) + "…"
		}
		pic.Lines = append(pic.Lines, shape{X: x, Y: y, Class: class, Text: text})
		y += lineHeight
	}
	at := func(s *span) string { return s.At.UTC().Format("15:04:05") }
	for len(all) > 0 && !all[0].ended {
		n := slices.IndexFunc(all, func(s span) bool { return s.ended || s.Step != all[0].Step })
		if n < 0 {
			n = len(all)
		}
		held, weight, figures := time.Duration(0), int32(0), ""
		for i := range all[:n] {
			s := &all[i]
			weight = max(weight, s.Weight)
			if text := counted(s.Figures); text != "" {
				figures = "; " + text
			}
			if s.State == strategy.StateGating {
				held += s.took()
			}
		}
		write(svgLeft, "ink", fmt.Sprintf("%s  step %d, up to %d %%, held for %s%s", at(&all[0]), all[0].Step+1, weight, held.Round(time.Second), figures))
		for i := range all[:n] {
			if s := &all[i]; s.State != strategy.StateGating && s.took() >= time.Second && s.Message != "" {
				write(svgLeft+16, "faint", fmt.Sprintf("%s  %s for %s: %s", at(s), s.does(), s.took().Round(time.Second), s.Message))
			}
		}
		all = all[n:]
	}
	if len(all) > 0 {
		write(svgLeft, "ink", fmt.Sprintf("%s  %s: %s", at(&all[0]), all[0].Phase, all[0].Message))
	}
	return y + 4
}

// escape makes all texts safe in XML.
func (pic *drawing) escape() {
	safe := func(text *string) {
		var out strings.Builder
		_ = xml.EscapeText(&out, []byte(printable.Line(*text))) // a Builder takes everything
		*text = out.String()
	}
	for _, text := range []*string{&pic.Title, &pic.Desc, &pic.End} {
		safe(text)
	}
	for _, list := range [][]shape{pic.Levels, pic.Times, pic.Strips, pic.Marks, pic.Legend, pic.Lines} {
		for i := range list {
			safe(&list[i].Text)
		}
	}
}

// drawTo writes the drawing of a deployment's rollout to a file, or to standard output
// if its name is "-". A file is replaced whole or not at all.
func (a *app) drawTo(name string, t *target) error {
	d := summary(&t.revision, &t.deployment)
	d.History = historyOf(t)
	var out bytes.Buffer
	if err := writeSVG(&out, &d, a.Now()); err != nil {
		return err
	}
	if name == "-" {
		_, err := out.WriteTo(a.Out)
		return err //nolint:wrapcheck // standard output
	}
	if err := atomicfile.Write(name, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}
