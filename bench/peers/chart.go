package peers

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the chart, in pixels.
const (
	chartWidth  = 900
	chartTop    = 76
	chartRow    = 26
	chartBottom = 40
	chartLeft   = 370 // where bars begin
	chartDecade = 84  // width of a factor of ten
)

const chartStyle = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:16px;font-weight:600}.host{font-weight:600}.small{font-size:12px;fill:#59636e}
.page{fill:#fff}.grid{stroke:#d1d9e0}.bar{fill:#b26a00}.bar.host{fill:#0969da}.bar.floor{fill:#8c959f}
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.page{fill:#0d1117}.grid{stroke:#3d444d}.bar{fill:#d29922}.bar.host{fill:#4493f8}.bar.floor{fill:#6e7681}}
</style>
`

// Chart returns an SVG image of the requests a second and the processor time a
// request, for single rows over 32 connections. Its scale is logarithmic.
func Chart(r *Results) string {
	servers := ordered(r)
	least, most := math.Inf(1), 10.0
	for _, s := range servers {
		if s.Reason == "" {
			least, most = min(least, s.Many.Rate), max(most, s.Many.Rate)
		}
	}
	least = min(max(least, 1), most/10)
	// The shortest bar is a tenth of a factor of ten or longer.
	low := math.Floor(math.Log10(least) - 0.1)
	high := math.Ceil(math.Log10(most))
	decade := chartDecade * min(1, 4/(high-low))
	x := func(rate float64) float64 { return chartLeft + decade*(math.Log10(rate)-low) }
	height := chartTop + chartRow*len(servers) + chartBottom

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="Requests a second of each server, on a logarithmic scale">`+"\n", chartWidth, height)
	b.WriteString(chartStyle)
	fmt.Fprintf(&b, `<rect class="page" width="%d" height="%d"/>`+"\n", chartWidth, height)
	b.WriteString(`<text class="title" x="16" y="28">One row a request, 32 connections</text>` + "\n")
	b.WriteString(`<text class="small" x="16" y="48">Requests/s on a logarithmic scale, and the server's CPU time a request. Longer bars are better.</text>` + "\n")
	for power := low; power <= high; power++ {
		at := x(math.Pow(10, power))
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1[1]f" y1="%d" y2="%d"/>`+"\n", at, chartTop-8, height-chartBottom+4)
		fmt.Fprintf(&b, `<text class="small" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, height-chartBottom+22, commas(math.Pow(10, power)))
	}
	for i, s := range servers {
		class := ""
		switch {
		case s.Host:
			class = " host"
		case s.Floor:
			class = " floor"
		}
		top := chartTop + chartRow*i
		fmt.Fprintf(&b, `<text class="label%s" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", class, chartLeft-10, top+14, html.EscapeString(s.Name+", "+s.Rows))
		if s.Reason != "" {
			fmt.Fprintf(&b, `<text class="small" x="%d" y="%d">not measured</text>`+"\n", chartLeft+8, top+14)
			continue
		}
		end := x(max(s.Many.Rate, least))
		fmt.Fprintf(&b, `<rect class="bar%s" x="%d" y="%d" width="%.1f" height="18" rx="2"/>`+"\n", class, chartLeft, top, end-chartLeft)
		fmt.Fprintf(&b, `<text class="value%s" x="%.1f" y="%d">%s/s, %s µs</text>`+"\n", class, end+8, top+14, rate(s.Many.Rate), number(s.Many.CPU))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
