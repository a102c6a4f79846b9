// Reads JSON from standard input as KEDA's metrics-api scaler does (pkg/scalers/metrics_api_scaler.go): prints the number that the
// GJSON path leads to, or says what is there instead, and ends with code 1.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/tidwall/gjson"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	found := gjson.GetBytes(body, os.Args[1])
	if found.Type != gjson.Number {
		fmt.Printf("got %s\n", found.Type)
		os.Exit(1)
	}
	fmt.Println(found.Num)
}
