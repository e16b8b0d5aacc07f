import { parseArgs } from 'node:util'

export interface Options {
  /** Names or name prefixes of workloads; empty for all. */
  readonly only: readonly string[]
  /** Such as `overlay2` or `overlay2/kernel`; empty for all. */
  readonly drivers: readonly string[]
  readonly modules: readonly string[]
  readonly disks: readonly string[]
  readonly image: string | undefined
  readonly quick: boolean
  readonly peers: boolean
  /** Names of peers or their programs; empty for all. */
  readonly onlyPeers: readonly string[]
  readonly rounds: number | undefined
  readonly json: string | undefined
  readonly html: string | undefined
  readonly table: string | undefined
  /** In minutes. */
  readonly budget: number | undefined
  /** `undefined`: yes, except with `--quick`. */
  readonly uml: boolean | undefined
  readonly compare: string | undefined
  /** Files of earlier runs, which are shown as one; nothing is measured. */
  readonly show: readonly string[]
  readonly list: boolean
  readonly help: boolean
}

export const usage = `npm run bench -- [option …]

  --only NAME            run the workloads whose names begin with NAME; repeatable
  --driver NAME[/ENGINE] run this driver or engine only; repeatable
  --driver-module FILE   also run the drivers of a module that exports a DriverFactory; repeatable
  --disk WHERE           work in this directory, or for ext4, xfs or btrfs on a new file system in memory (as root);
                         repeatable: drivers that do not work on the first disk run on the next one that they work on
                         [the system's temporary directory]
  --image FILE           the docker-archive to load, save and flatten   [made once, as root]
  --quick                small workloads and few rounds; takes a few minutes
  --peer NAME            compare with this peer only; repeatable
  --no-peers             compare with no peers
  --rounds N             take N samples of each contender, however long it takes
  --budget MINUTES       approximate total time; slow workloads and contenders have fewer rounds, but at least 1
                         [30, or 3 with --quick]
  --uml, --no-uml        if the kernel has no device-mapper, also run its driver in User-Mode Linux, with floors and
                         peers   [yes, except with --quick]
  --json FILE            save all samples
  --html FILE            save a page with charts
  --table FILE           save the tables that the terminal shows
  --compare FILE         show changes since an older --json; exit with 1 if a driver became slower
  --show FILE            show an older --json and measure nothing; repeatable: several are shown as one run
  --list                 list the workloads and their contenders
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
  throw new TypeError(`--rounds takes an integer of at least 1, not ${text}`)
}

function minutesOf(text: string): number {
  const minutes = Number(text)
  if (Number.isFinite(minutes) && minutes > 0) return minutes
  throw new TypeError(`--budget takes a number of minutes greater than 0, not ${text}`)
}
