package peers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Page returns what the page about benchmarks shows of a run: the machine, versions
// and a table for each kind of traffic.
func Page(r *Results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s. Each figure is the median of %d rounds of %.3g s. While a server was measured, other programs used at most %.2f processors, and the hypervisor withheld at most %.2f.\n\n",
		r.Machine, r.Rounds, r.Seconds, r.Others, r.Stolen)
	var versions []string
	for _, v := range r.Versions {
		versions = append(versions, v.Name+" "+v.Version)
	}
	fmt.Fprintf(&b, "Versions: %s.\n\n", strings.Join(versions, ", "))
	servers := ordered(r)
	for _, t := range []struct {
		title, rate, cpu string
		of               func(Server) Figures
		rows             float64
	}{
		{"One row a request, 32 connections", "requests/s", "CPU µs a request", func(s Server) Figures { return s.Many }, 1},
		{"One row a request, 1 connection", "requests/s", "CPU µs a request", func(s Server) Figures { return s.Alone }, 1},
		{"1,000 rows a request, 4 connections", "rows/s", "CPU µs a row", func(s Server) Figures { return s.Batch }, BatchRows},
	} {
		fmt.Fprintf(&b, "### %s\n\n| server | rows as | %s | %s | p50 µs | p99 µs |\n|---|---|--:|--:|--:|--:|\n", t.title, t.rate, t.cpu)
		for _, s := range servers {
			if s.Reason != "" {
				fmt.Fprintf(&b, "| %s | %s | %s | | | |\n", title(s), s.Rows, reason(s))
				continue
			}
			f := t.of(s)
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", title(s), s.Rows, rate(f.Rate*t.rows), number(f.CPU/t.rows), number(f.P50), number(f.P99))
		}
		b.WriteByte('\n')
	}
	b.WriteString("### Memory and start\n\n| server | memory, MiB | start, s |\n|---|--:|--:|\n")
	seen := map[string]bool{}
	for _, s := range servers {
		switch {
		case seen[s.Name]:
		case s.Reason != "":
			fmt.Fprintf(&b, "| %s | %s | |\n", title(s), reason(s))
		default:
			fmt.Fprintf(&b, "| %s | %.0f | %.2f |\n", title(s), s.MiB, s.Start)
		}
		seen[s.Name] = true
	}
	b.WriteByte('\n')
	return b.String()
}

// Summary returns the table of the README.
func Summary(r *Results) string {
	var b strings.Builder
	b.WriteString("\n| server | rows as | requests/s | CPU µs a request | rows/s in batches | memory, MiB |\n|---|---|--:|--:|--:|--:|\n")
	for _, s := range ordered(r) {
		if s.Reason != "" {
			fmt.Fprintf(&b, "| %s | %s | %s | | | |\n", title(s), s.Rows, reason(s))
			continue
		}
		cells := []string{rate(s.Many.Rate), number(s.Many.CPU), rate(s.Batch.Rate * BatchRows), fmt.Sprintf("%.0f", s.MiB)}
		if s.Host {
			for i := range cells {
				cells[i] = "**" + cells[i] + "**"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", title(s), s.Rows, strings.Join(cells, " | "))
	}
	b.WriteByte('\n')
	return b.String()
}

// ordered returns the servers, the fastest first and those without figures last.
func ordered(r *Results) []Server {
	all := slices.Clone(r.Servers)
	slices.SortStableFunc(all, func(a, b Server) int {
		return cmp.Or(cmp.Compare(min(len(a.Reason), 1), min(len(b.Reason), 1)), cmp.Compare(b.Many.Rate, a.Many.Rate))
	})
	return all
}

func title(s Server) string {
	switch {
	case s.Host:
		return "**" + s.Name + "**"
	case s.Floor:
		return "*" + s.Name + "*"
	}
	return s.Name
}

// reason returns the reason of a server without figures as a cell of a table.
func reason(s Server) string {
	const most = 200 // characters
	text := []rune("not measured: " + strings.Join(strings.Fields(s.Reason), " "))
	if len(text) > most {
		text = append(text[:most], '…')
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(string(text))
}

// rate returns a rate with three digits that count.
func rate(v float64) string {
	if v <= 0 {
		return "0"
	}
	unit := math.Pow10(int(math.Floor(math.Log10(v))) - 2)
	return number(math.Round(v/unit) * unit)
}

// number returns a number with at least two digits that count, and commas between
// thousands.
func number(v float64) string {
	switch {
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return commas(v)
}

// commas returns a whole number with commas between thousands.
func commas(v float64) string {
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
