import type { Driver, Store } from 'layerstack'
import type { Clock } from './clock.js'
import type { DriverContender } from './contender.js'

/**
 * A workload is a line of `workloads.ts`. It defines how each contender performs it: drivers of this project, floors
 * and peers. A contender makes a `Task` in its own process. The schedule asks it for one sample at a time, in turns
 * with the others:
 *
 *     prepare(workspace) ──► run(clock) … run(clock) ──► dispose
 */
export interface Workload {
  /** `group/rest`; also the key of its results in `--json`. */
  readonly name: string
  readonly about: string
  /** Excluded from `--quick`. */
  readonly heavy: boolean
  /** So long that it has no warm-up, and that two samples suffice. */
  readonly long?: boolean
  /** Whether the allocation on disk is the main result, so that the page shows it. */
  readonly growth?: boolean
  /** Whether it needs a real image. */
  readonly onImage?: boolean
  /** Bytes that each contender needs on disk; without them it does not run. */
  readonly space?: number
  /** The point of a chart that has all workloads of the series. */
  readonly point?: { readonly series: string; readonly at: number }
  /** Also measures drivers on the host paths of their views, if they have them. */
  readonly onMount?: boolean
  /** Floors and peers sync nothing, so drivers are also measured without syncs. */
  readonly unsynced?: boolean
  /** The depth of its layer chains. @default 2 */
  readonly depth?: number
  readonly driver: (workspace: DriverWorkspace) => Promise<Task>
  /** By name. Ratios are relative to the first that runs. */
  readonly floors?: Readonly<Record<string, Prepare>>
  /** By name, whose first word is a program that must be installed. */
  readonly peers?: Readonly<Record<string, Prepare>>
  /** The file systems that peers need. */
  readonly peersOn?: Readonly<Record<string, string>>
}

type Prepare = (workspace: Workspace) => Promise<Task>

export interface Task extends AsyncDisposable {
  /** Takes one sample, which does not influence the next one. */
  run(clock: Clock): Promise<void>
  /** A word in the arguments of each other process that works for this task, such as a daemon. */
  readonly helpers?: string
}

/** Makes a task from functions; `end` disposes of it. */
export function task(run: Task['run'], end: () => Promise<unknown> = async () => undefined): Task {
  return { run, [Symbol.asyncDispose]: async () => void (await end()) }
}

/** What each contender is given to work with. */
export interface Workspace {
  /** Absolute path of a directory that only this contender uses. */
  readonly directory: string
  /** Returns the path of a docker-archive. Rejects with `NotHere` if none is available. */
  readonly image: () => Promise<string>
}

export interface DriverWorkspace extends Workspace {
  readonly contender: DriverContender
  /** Opens the driver on a root. @default `root` in the directory */
  openDriver(root?: string): Promise<Driver>
  openStore(root?: string): Promise<Store>
}

/** Thrown by `prepare` if this machine lacks something that the contender needs. Not counted as a failure. */
export class NotHere extends Error {}
