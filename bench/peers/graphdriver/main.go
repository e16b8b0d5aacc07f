// Graphdriver measures one of Docker's graphdrivers without its daemon. It creates a stack of layers, then creates,
// gets, puts and removes writable layers on it.
//
//	graphdriver DRIVER ROOT DEPTH [OPTION…]
//
// Each line of standard input is a number of repetitions. The answer is a line of JSON with the seconds that each step
// of one repetition took.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/daemon/graphdriver"
	_ "github.com/docker/docker/daemon/graphdriver/btrfs"
	_ "github.com/docker/docker/daemon/graphdriver/devmapper"
	_ "github.com/docker/docker/daemon/graphdriver/overlay2"
	_ "github.com/docker/docker/daemon/graphdriver/vfs"
	"github.com/docker/docker/pkg/reexec"
)

type answer struct {
	Create float64 `json:"create"`
	Get    float64 `json:"get"`
	Put    float64 `json:"put"`
	Remove float64 `json:"remove"`
	CPU    float64 `json:"cpu"`
}

func main() {
	// Docker's drivers start their own program again for some work.
	if reexec.Init() {
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	name, root := os.Args[1], os.Args[2]
	depth, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	driver, err := graphdriver.New(name, nil, graphdriver.Options{Root: root, DriverOptions: os.Args[4:]})
	if err != nil {
		return err
	}
	defer driver.Cleanup()
	top, err := stack(driver, depth)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		times, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			return err
		}
		took, err := live(driver, top, times)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(took); err != nil {
			return err
		}
	}
	return lines.Err()
}

func stack(driver graphdriver.Driver, depth int) (string, error) {
	top := ""
	for index := 0; index < depth; index++ {
		id := fmt.Sprintf("layer%d", index)
		if err := driver.Create(id, top, nil); err != nil {
			return "", err
		}
		top = id
	}
	return top, nil
}

func live(driver graphdriver.Driver, top string, times int) (*answer, error) {
	took := &answer{}
	before := cpu()
	for time := 0; time < times; time++ {
		id := fmt.Sprintf("container%d", time)
		steps := []struct {
			sum *float64
			run func() error
		}{
			{&took.Create, func() error { return driver.CreateReadWrite(id, top, nil) }},
			{&took.Get, func() error { _, err := driver.Get(id, ""); return err }},
			{&took.Put, func() error { return driver.Put(id) }},
			{&took.Remove, func() error { return driver.Remove(id) }},
		}
		for _, step := range steps {
			if err := measure(step.sum, times, step.run); err != nil {
				return nil, err
			}
		}
	}
	took.CPU = (cpu() - before) / float64(times)
	return took, nil
}

func measure(sum *float64, times int, run func() error) error {
	begun := time.Now()
	err := run()
	*sum += time.Since(begun).Seconds() / float64(times)
	return err
}

func cpu() float64 {
	total := 0.0
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		usage := syscall.Rusage{}
		if syscall.Getrusage(who, &usage) != nil {
			continue
		}
		for _, each := range []syscall.Timeval{usage.Utime, usage.Stime} {
			total += float64(each.Sec) + float64(each.Usec)/1e6
		}
	}
	return total
}
