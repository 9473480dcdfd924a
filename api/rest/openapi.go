package rest

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/gofiber/fiber/v2"
	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPIYAML []byte

// OpenAPI returns the OpenAPI 3.1 description of the API, in YAML.
func OpenAPI() []byte { return openAPIYAML }

type openAPI struct{ json, yaml fiber.Handler }

// openAPIHandlers returns handlers for the description in both formats.
func openAPIHandlers() (openAPI, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(openAPIYAML, &doc); err != nil {
		return openAPI{}, fmt.Errorf("reading openapi.yaml: %w", err)
	}
	asJSON, err := json.Marshal(doc)
	if err != nil {
		return openAPI{}, fmt.Errorf("writing openapi.json: %w", err)
	}
	send := func(contentType string, body []byte) fiber.Handler {
		return func(c *fiber.Ctx) error {
			c.Set(fiber.HeaderContentType, contentType)
			return c.Send(body)
		}
	}
	return openAPI{json: send(fiber.MIMEApplicationJSON, asJSON), yaml: send("application/yaml", openAPIYAML)}, nil
}
