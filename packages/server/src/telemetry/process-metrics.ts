// SPDX-License-Identifier: Apache-2.0
/** How does the process do: memory, processor time, files, and how late its event loop is? */
import { readdirSync } from "node:fs";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { getHeapSpaceStatistics } from "node:v8";
import { counter, gauge, type MetricFamily, type MetricSource } from "./metric-family.ts";

const NANOSECONDS = 1e9;
/** Milliseconds between looks at the event loop. */
const LOOK_EVERY = 20;

/** Watches the event loop from now on. Names: OpenTelemetry's for Node, Prometheus' for processes. */
export function watchProcess(): { readonly source: MetricSource; stop(): void } {
  const delay = monitorEventLoopDelay({ resolution: LOOK_EVERY });
  delay.enable();
  let before = performance.eventLoopUtilization();
  const eventLoop = (): MetricFamily[] => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    // What is measured is the time from look to look.
    const seconds = (nanoseconds: number): number =>
      Math.max(0, Number.isFinite(nanoseconds) ? nanoseconds / NANOSECONDS - LOOK_EVERY / 1000 : 0);
    const since = "since the last scrape";
    const families = [
      gauge("nodejs_eventloop_delay_max_seconds", `longest delay ${since}`, seconds(delay.max)),
      gauge("nodejs_eventloop_delay_p99_seconds", `99th percentile ${since}`, seconds(delay.percentile(99))),
      gauge("nodejs_eventloop_delay_p50_seconds", `median ${since}`, seconds(delay.percentile(50))),
      gauge("nodejs_eventloop_utilization_ratio", `share of time in which it was busy ${since}`, utilization),
    ];
    delay.reset();
    return families;
  };
  return { source: () => [...eventLoop(), ...resources()], stop: () => void delay.disable() };
}

function resources(): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  return [
    counter("process_cpu_seconds", "processor time that was used", (user + system) / 1e6),
    gauge("process_resident_memory_bytes", "memory that is resident", process.memoryUsage.rss()),
    ...openDescriptors().map((count) => gauge("process_open_fds", "open file descriptors", count)),
    gauge("process_start_time_seconds", "start, in seconds since 1970", performance.timeOrigin / 1000),
    {
      name: "v8js_memory_heap_used_bytes",
      help: "memory in use in each space of the heap",
      type: "gauge",
      samples: getHeapSpaceStatistics().map(({ space_name, space_used_size }) => ({
        labels: { v8js_heap_space_name: space_name },
        value: space_used_size,
      })),
    },
  ];
}

/** None where there is no `/proc`, or the kernel hides it from a process whose memory is protected. */
function openDescriptors(): number[] {
  try {
    return [readdirSync("/proc/self/fd").length];
  } catch {
    return [];
  }
}
