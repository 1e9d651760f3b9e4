package chart

import (
	"bytes"
	"image/color"
	"io"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The size of a figure and its text: readable on a slide without change.
const (
	width      = 9 * vg.Inch
	height     = 5 * vg.Inch
	margin     = vg.Length(12)
	titleSize  = vg.Length(16)
	textSize   = vg.Length(13)
	lineWidth  = vg.Length(2)
	thinWidth  = vg.Length(1)
	glyphSize  = vg.Length(4)
	barsFill   = 0.8 // of the room of a group
	dotsPerIn  = 144 // of PNG
	thumbWidth = vg.Length(28)
)

// palette is that of Okabe and Ito with grey in place of yellow, which is lost on
// white. Black comes first.
var palette = []color.Color{
	color.RGBA{A: 255},
	color.RGBA{R: 213, G: 94, A: 255},
	color.RGBA{G: 114, B: 178, A: 255},
	color.RGBA{G: 158, B: 115, A: 255},
	color.RGBA{R: 204, G: 121, B: 167, A: 255},
	color.RGBA{R: 230, G: 159, A: 255},
	color.RGBA{R: 86, G: 180, B: 233, A: 255},
	color.RGBA{R: 127, G: 127, B: 127, A: 255},
}

var glyphs = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{},
}

var grey = color.Gray{Y: 222}

// sans is the font of all text.
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// draw lays a figure out: the plot on the left, its legend beside it.
func (f *Figure) draw(format string) (io.WriterTo, error) {
	p := plot.New()
	p.Title.Text, p.Title.Padding = f.Title, margin
	p.Title.TextStyle.Font = sans(titleSize)
	f.X.lay(&p.X)
	f.Y.lay(&p.Y)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = grey, grey
	p.Add(grid)
	legend := plot.NewLegend()
	legend.TextStyle.Font = sans(textSize)
	legend.Top, legend.Left, legend.ThumbnailWidth, legend.Padding = true, true, thumbWidth, margin/2
	if len(f.Groups) > 0 {
		p.NominalX(f.Groups...)
		grid.Vertical.Width = 0
	}
	for i := range f.Series {
		thumbs, err := f.add(p, i)
		if err != nil {
			return nil, err
		}
		if f.Series[i].Name != "" {
			legend.Add(f.Series[i].Name, thumbs...)
		}
	}
	out, canvas := newCanvas(format)
	page := draw.New(canvas)
	page.SetColor(color.White)
	page.Fill(page.Path())
	all := draw.Crop(page, margin, -margin, margin, -margin)
	room := legend.Rectangle(all)
	column := room.Max.X - room.Min.X + thumbWidth
	if len(f.Series) == 1 && f.Series[0].Name == "" {
		column = 0
	}
	p.Draw(draw.Crop(all, 0, -column, 0, 0))
	if column > 0 {
		legend.Draw(draw.Crop(all, all.Max.X-all.Min.X-column+margin, 0, 0, -3*margin))
	}
	return out, nil
}

func newCanvas(format string) (io.WriterTo, vg.CanvasSizer) {
	if format == "png" {
		c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerIn))
		return vgimg.PngCanvas{Canvas: c}, c
	}
	c := vgsvg.New(width, height)
	return fallBack{c}, c
}

// fallBack lets a browser without the font take one of the same widths.
type fallBack struct{ drawing io.WriterTo }

func (f fallBack) WriteTo(w io.Writer) (int64, error) {
	var text bytes.Buffer
	if _, err := f.drawing.WriteTo(&text); err != nil {
		return 0, err
	}
	const name = "font-family:Liberation Sans"
	n, err := w.Write(bytes.ReplaceAll(text.Bytes(), []byte(name), []byte(name+",Arial,Helvetica,sans-serif")))
	return int64(n), err
}

// lay sets the looks of an axis.
func (a *Axis) lay(to *plot.Axis) {
	to.Label.Text = a.Label
	to.Label.TextStyle.Font = sans(textSize)
	to.Label.Padding = margin / 2
	to.Tick.Label.Font = sans(textSize)
	to.Width, to.Tick.Width = thinWidth, thinWidth
	if a.Min != a.Max {
		to.Min, to.Max = a.Min, a.Max
	}
	to.Tick.Marker = plot.TickerFunc(round)
	if a.Log {
		to.Scale, to.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	}
}

// round marks multiples of 1, 2 or 5 times a power of ten, four to ten of them.
func round(low, high float64) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, wider := range []float64{5, 2} {
		if (high-low)/(wider*step) >= 4 {
			step *= wider
			break
		}
	}
	for n := math.Ceil(low / step); n*step <= high; n++ {
		ticks = append(ticks, tick(n*step))
	}
	return ticks
}

// tick labels a value without the noise of its last bits.
func tick(value float64) plot.Tick {
	if value == 0 {
		value = 0 // not -0
	}
	return plot.Tick{Value: value, Label: strconv.FormatFloat(value, 'g', 6, 64)}
}

// decades marks 1, 2 and 5 times the powers of ten; where these are fewer than
// three, as round does.
func decades(low, high float64) (ticks []plot.Tick) {
	for exponent := math.Floor(math.Log10(low)); exponent <= math.Ceil(math.Log10(high)); exponent++ {
		for _, digit := range []float64{1, 2, 5} {
			value := digit * math.Pow(10, exponent)
			if value >= low*0.999 && value <= high*1.001 {
				ticks = append(ticks, tick(value))
			}
		}
	}
	if len(ticks) < 3 {
		return round(low, high)
	}
	return ticks
}

// style returns the number of a series' colour and marker.
func (f *Figure) style(i int) int {
	named := 0
	for j := range f.Series[:i+1] {
		if f.Series[j].Name != "" {
			named++
		}
	}
	return max(named-1, 0)
}

// add draws one series and returns its sample for the legend.
func (f *Figure) add(p *plot.Plot, i int) ([]plot.Thumbnailer, error) {
	s := &f.Series[i]
	style := f.style(i)
	shade := palette[style%len(palette)]
	if s.Kind == Bars {
		return f.addBars(p, i)
	}
	points := make(plotter.XYs, len(s.Y))
	for j := range points {
		points[j] = plotter.XY{X: s.X[j], Y: s.Y[j]}
	}
	var thumbs []plot.Thumbnailer
	if len(points) == 0 {
		return nil, nil
	}
	if s.Kind != Dots {
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = shade, lineWidth
		p.Add(line)
		thumbs = append(thumbs, line)
	}
	if err := s.addErrors(p, points, shade); err != nil {
		return nil, err
	}
	if s.Kind != Front {
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return nil, err
		}
		dots.Color, dots.Radius, dots.Shape = shade, glyphSize, glyphs[style%len(glyphs)]
		if s.Kind == Dots && s.Name == "" {
			dots.Radius = glyphSize / 2
		}
		p.Add(dots)
		thumbs = append(thumbs, dots)
	}
	return thumbs, nil
}

// addErrors draws the error bars of a series at its points.
func (s *Series) addErrors(p *plot.Plot, points plotter.XYs, shade color.Color) error {
	if s.Low == nil {
		return nil
	}
	reach := make(plotter.YErrors, len(points))
	for j := range points {
		reach[j].Low, reach[j].High = s.Y[j]-s.Low[j], s.High[j]-s.Y[j]
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{points, reach})
	if err != nil {
		return err
	}
	bars.Color, bars.Width, bars.CapWidth = shade, thinWidth, 2*glyphSize
	p.Add(bars)
	return nil
}

// addBars draws the bars of a series, one in each group beside those of the other
// series.
func (f *Figure) addBars(p *plot.Plot, i int) ([]plot.Thumbnailer, error) {
	number, all := 0, 0
	for j := range f.Series {
		if f.Series[j].Kind == Bars {
			if j < i {
				number++
			}
			all++
		}
	}
	s := &f.Series[i]
	shade := palette[(i+1)%len(palette)] // black is for lines
	wide := barsFill / float64(all)
	middles := make(plotter.XYs, len(s.Y))
	var thumbs []plot.Thumbnailer
	for group, y := range s.Y {
		left := float64(group) - barsFill/2 + float64(wide*float64(number))
		bar, err := plotter.NewPolygon(plotter.XYs{{X: left, Y: 0}, {X: left, Y: y}, {X: left + wide, Y: y}, {X: left + wide, Y: 0}})
		if err != nil {
			return nil, err
		}
		bar.Color, bar.Width = shade, 0
		p.Add(bar)
		middles[group] = plotter.XY{X: left + wide/2, Y: y}
		thumbs = []plot.Thumbnailer{bar}
	}
	return thumbs, s.addErrors(p, middles, color.Black)
}
