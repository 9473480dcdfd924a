package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bytedance/sonic"
	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// The paths of both floors.
const (
	pathReady      = "/ready"
	pathNamed      = "/named"
	pathNamedRows  = "/named-rows"
	pathArray      = "/array"
	pathArrayRows  = "/array-rows"
	contentTypeOwn = "application/json"
)

type fixedAnswer struct {
	Score   float64 `json:"score"`
	Anomaly bool    `json:"anomaly"`
	Model   string  `json:"model"`
}

func newFloor() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, JSONEncoder: sonic.Marshal, BodyLimit: 32 << 20})
	app.Get(pathReady, func(c *fiber.Ctx) error { return c.SendString("ok") })
	return app
}

func listen(app *fiber.App, args []string) error {
	if err := app.Listen(args[0]); err != nil {
		return fmt.Errorf("serving a floor: %w", err)
	}
	return nil
}

// floorSonic decodes with sonic into Go's own types.
func floorSonic(args []string) error {
	app := newFloor()
	app.Post(pathNamed, withSonic[map[string]float64])
	app.Post(pathNamedRows, withSonic[[]map[string]float64])
	app.Post(pathArray, withSonic[[]float32])
	app.Post(pathArrayRows, withSonic[[][]float32])
	return listen(app, args)
}

func withSonic[T any](c *fiber.Ctx) error {
	var body struct {
		ModelID string `json:"model_id"`
		Data    T      `json:"data"`
	}
	if err := sonic.Unmarshal(c.Body(), &body); err != nil {
		return fiber.ErrBadRequest
	}
	return c.JSON(fixedAnswer{Score: 0.125, Model: body.ModelID})
}

// floorOwn decodes with the host's decoder into the model's matrix.
func floorOwn(args []string) error {
	text, err := os.ReadFile(filepath.Join(args[1], manifest.FileName))
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	schema := rows.NewSchema(m)
	idle := make(chan *rows.Decoder, 64)
	for range cap(idle) {
		idle <- schema.NewDecoder()
	}
	handler := func(one bool) fiber.Handler {
		return func(c *fiber.Ctx) error {
			d := <-idle
			defer func() { d.Reset(); idle <- d }()
			id, err := decodeOwn(c.Body(), d, one)
			if err != nil || len(d.Failed()) > 0 {
				return fiber.ErrBadRequest
			}
			return c.JSON(fixedAnswer{Score: 0.125, Model: id})
		}
	}
	app := newFloor()
	for path, one := range map[string]bool{pathNamed: true, pathNamedRows: false, pathArray: true, pathArrayRows: false} {
		app.Post(path, handler(one))
	}
	return listen(app, args)
}

func decodeOwn(body []byte, d *rows.Decoder, one bool) (id string, err error) {
	s := &jsonscan.Scanner{Data: body}
	if !s.Take('{') {
		return "", errors.New("not an object")
	}
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil || !more {
			return id, err
		}
		key, err := s.String(nil)
		if err != nil {
			return id, err
		}
		isData := string(key) == "data"
		if err := s.Colon(); err != nil {
			return id, err
		}
		switch {
		case !isData:
			var value []byte
			value, err = s.String(nil)
			id = string(value)
		case one:
			err = d.JSONRow(s)
		default:
			err = d.JSONRows(s, 10000)
		}
		if err != nil {
			return id, err
		}
	}
}
