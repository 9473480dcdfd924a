package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
)

// TestLargeAnswers checks that an answer that is too large for fasthttp's buffer
// arrives complete, however it was set.
func TestLargeAnswers(t *testing.T) {
	text := strings.Repeat("x", 2*freeBytes)
	for name, answer := range map[string]fiber.Handler{
		"json":   func(c *fiber.Ctx) error { return c.JSON(text) },
		"string": func(c *fiber.Ctx) error { return c.SendString(text) },
		"appended": func(c *fiber.Ctx) error {
			c.Response().SwapBody(append(c.Response().SwapBody(nil)[:0], text...))
			return nil
		},
		"written": func(c *fiber.Ctx) error {
			_, err := c.WriteString(text)
			return err
		},
	} {
		var s Server
		app := fiber.New()
		app.Use(func(c *fiber.Ctx) error {
			err := c.Next()
			s.lend(c)
			return err
		})
		app.Get("/", answer)
		resp, err := app.Test(httptest.NewRequest(http.MethodGet, "/", nil), -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || strings.Trim(string(got), `"`) != text {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(text))
		}
	}
}
