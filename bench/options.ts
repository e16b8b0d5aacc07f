import { parseArgs } from 'node:util'

export interface Options {
  /** Names of workloads, or how they begin; empty is all. */
  readonly only: readonly string[]
  /** `overlay2`, or `overlay2/kernel`; empty is all. */
  readonly drivers: readonly string[]
  readonly modules: readonly string[]
  readonly disks: readonly string[]
  readonly image: string | undefined
  readonly quick: boolean
  readonly peers: boolean
  /** Empty is all. */
  readonly onlyPeers: readonly string[]
  readonly rounds: number | undefined
  readonly json: string | undefined
  readonly html: string | undefined
  readonly table: string | undefined
  /** Minutes. */
  readonly budget: number | undefined
  /** `undefined`: in a whole run. */
  readonly uml: boolean | undefined
  readonly compare: string | undefined
  /** Runs that were, shown as one; nothing is measured. */
  readonly show: readonly string[]
  readonly list: boolean
  readonly help: boolean
}

export const usage = `npm run bench -- [option …]

  --only NAME            workloads of this name, or whose name begins so; may be given several times
  --driver NAME[/ENGINE] this driver alone; may be given several times
  --driver-module FILE   a module that exports a DriverFactory of your own; may be given several times
  --disk WHERE           a directory, or ext4, xfs, btrfs: a new file system in memory (as root); what does not
                         work on the first disk runs on the next one given   [the system's temporary directory]
  --image FILE           a docker-archive to load, save and flatten   [one that is made once, as root]
  --quick                small workloads, few rounds, a few minutes
  --peer NAME            beside this program of other people alone; may be given several times
  --no-peers             beside none of them
  --rounds N             so many samples of each, however long it takes
  --budget MINUTES       about so long in all: slow workloads and sides have fewer rounds, 1 at least   [30, or 3 with
                         --quick]
  --uml, --no-uml        where the kernel has no device-mapper: its driver in User-Mode Linux, as a part of the run with
                         floors and peers of its own   [yes, but for --quick]
  --json FILE            all samples
  --html FILE            a page with charts
  --table FILE           the tables of the terminal
  --compare FILE         what changed since an older --json
  --show FILE            shows an older --json, or several as one run, and measures nothing
  --list                 names of workloads and of what runs them
`

export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true },
      driver: { type: 'string', multiple: true },
      'driver-module': { type: 'string', multiple: true },
      disk: { type: 'string', multiple: true },
      image: { type: 'string' },
      quick: { type: 'boolean' },
      peer: { type: 'string', multiple: true },
      'no-peers': { type: 'boolean' },
      rounds: { type: 'string' },
      json: { type: 'string' },
      html: { type: 'string' },
      table: { type: 'string' },
      budget: { type: 'string' },
      uml: { type: 'boolean' },
      'no-uml': { type: 'boolean' },
      compare: { type: 'string' },
      show: { type: 'string', multiple: true },
      list: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  return {
    only: values.only ?? [],
    drivers: values.driver ?? [],
    modules: values['driver-module'] ?? [],
    disks: values.disk ?? [],
    image: values.image,
    quick: values.quick ?? false,
    peers: values['no-peers'] !== true,
    onlyPeers: values.peer ?? [],
    rounds: values.rounds === undefined ? undefined : countOf(values.rounds),
    json: values.json,
    html: values.html,
    table: values.table,
    budget: values.budget === undefined ? undefined : minutesOf(values.budget),
    uml: values['no-uml'] === true ? false : values.uml,
    compare: values.compare,
    show: values.show ?? [],
    list: values.list ?? false,
    help: values.help ?? false,
  }
}

function countOf(text: string): number {
  const count = Number(text)
  if (Number.isInteger(count) && count > 0) return count
  throw new TypeError(`--rounds takes a number of 1 or more, not ${text}`)
}

function minutesOf(text: string): number {
  const minutes = Number(text)
  if (Number.isFinite(minutes) && minutes > 0) return minutes
  throw new TypeError(`--budget takes minutes, more than 0, not ${text}`)
}
