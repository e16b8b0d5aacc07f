import { contenderOf, groupOf, totals, type Run } from './result.js'
import { median, ratios } from './statistics.js'

/** A goal of the project: the median of ratios, round by round, in one run. */
interface Target {
  readonly workload: string
  readonly ours: string
  readonly theirs: string
  /** The workload of `theirs`, if it differs. Medians are compared then. */
  readonly than?: string
  /** The highest ratio of the time of `ours` to that of `theirs`. */
  readonly atMost: number
}

export interface Standing extends Target {
  readonly found: number
  readonly reached: boolean
}

const KERNEL = 'overlay2/kernel'
const USERSPACE = 'overlay2/userspace'
const MOUNT = 'overlay2/kernel mount'

const KERNEL_VOLATILE = 'overlay2/kernel volatile'
const USERSPACE_VOLATILE = 'overlay2/userspace volatile'
/** Drivers that share blocks within a file. */
const BLOCKS = ['btrfs/userspace', 'devicemapper/userspace']

const BARE = 'mkdir + mount + umount + rmdir'

const targets: readonly Target[] = [
  ...comparedWith('image/load', KERNEL, { docker: 1 / 4, 'tar -x + sha256sum': 1.2 }),
  ...comparedWith('container/driver on 1 layer', KERNEL, { [BARE]: 1.5 }),
  ...comparedWith('container/driver on 1 layer', KERNEL_VOLATILE, { [BARE]: 1.5 }),
  ...comparedWith('container/driver on 20 layers', KERNEL, { [BARE]: 1.5 }),
  ...comparedWith('container/driver on 20 layers', KERNEL_VOLATILE, { [BARE]: 1.5 }),
  ...comparedWith('container/driver on 128 layers', KERNEL, { [BARE]: 1.5 }),
  ...comparedWith('container/driver on 128 layers', KERNEL_VOLATILE, { [BARE]: 1.5 }),
  ...comparedWith('cow/first-write 4 KiB', MOUNT, { overlayfs: 1 }),
  ...comparedWith('cow/first-write 1 MiB', MOUNT, { overlayfs: 1 }),
  ...comparedWith('cow/first-write 100 MiB', MOUNT, { overlayfs: 1 }),
  ...comparedWith('cow/first-write 4 KiB', KERNEL, { overlayfs: 1.3 }),
  ...comparedWith('cow/first-write 1 MiB', KERNEL, { overlayfs: 1.3 }),
  ...comparedWith('cow/first-write 100 MiB', KERNEL, { overlayfs: 1.3 }),
  ...comparedWith('commit/10,000 files', KERNEL, { docker: 1 / 3 }),
  ...comparedWith('commit/10,000 files, consumed', KERNEL, { docker: 1 / 5 }),
  ...comparedWith('commit/a file of 1 GiB, consumed', KERNEL, { 'tar + sha256sum': 1 }),
  ...comparedWith('changes/10 in 100,000 files', KERNEL, { docker: 1 / 50 }),
  ...comparedWith('image/reassemble', KERNEL, { 'cat of all files + sha256sum': 1.2 }),
  ...comparedWith('image/save', KERNEL, { 'cat of all files + sha256sum': 1.2 }),
  ...comparedWith('image/flatten', KERNEL, { docker: 1 / 3 }),
  ...comparedWith('cow/open-read-close 1 layer', USERSPACE, { 'fuse-overlayfs': 1 / 3 }),
  ...comparedWith('cow/create 4 KiB', USERSPACE, { 'fuse-overlayfs': 1 / 3 }),
  ...comparedWith('cow/first-write 4 KiB', USERSPACE, { 'fuse-overlayfs': 1 / 3 }),
  ...comparedWith('cow/first-write 4 KiB', USERSPACE_VOLATILE, { 'fuse-overlayfs': 1 / 3 }),
  ...BLOCKS.flatMap((ours) => [
    itself('container/snapshot of 100,000 files', 'container/snapshot of 10 files', ours, 2),
    itself('cow/open-read-close 128 layers', 'cow/open-read-close 2 layers', ours, 1.2),
  ]),
]

/** Limits for every workload. */
export const limits = { peakMemory: 200e6, loopDelay: 0.05 }

export function standings({ results }: Run): Standing[] {
  return targets.flatMap((target) => {
    const result = results.find(({ workload }) => workload === target.workload)
    const ours = result && contenderOf(result, target.ours)
    const other = results.find(({ workload }) => workload === (target.than ?? target.workload))
    const theirs = other && contenderOf(other, target.theirs)
    if (ours === undefined || theirs === undefined) return []
    const [own, their] = [totals(ours), totals(theirs)]
    const found = target.than === undefined ? median(ratios(own, their)) : median(own) / median(their)
    // Exceeding the target by up to 5 % counts as reached, as such a difference is within the noise.
    return [{ ...target, found, reached: found <= target.atMost * 1.05 }]
  })
}

export interface Excess {
  readonly workload: string
  readonly contender: string
  readonly peakMemory?: number
  readonly loopDelay?: number
}

/** Returns the drivers that exceeded the limit of memory or of event-loop delay. */
export function excesses({ results, elsewhere = {} }: Run): Excess[] {
  // Limits hold only for the machine of the run; another one may be much slower.
  const here = results.filter(({ workload }) => !(groupOf(workload) in elsewhere))
  return here.flatMap(({ workload, contenders }) =>
    contenders.flatMap(({ name, kind, peakMemory = 0, loopDelay }) => {
      if (kind !== 'driver') return []
      const late = loopDelay?.p99 ?? 0
      if (peakMemory <= limits.peakMemory && late <= limits.loopDelay) return []
      return [
        {
          workload,
          contender: name,
          ...(peakMemory > limits.peakMemory && { peakMemory }),
          ...(late > limits.loopDelay && { loopDelay: late }),
        },
      ]
    }),
  )
}

function comparedWith(workload: string, ours: string, theirs: Readonly<Record<string, number>>): Target[] {
  return Object.entries(theirs).map(([name, atMost]) => ({ workload, ours, theirs: name, atMost }))
}

function itself(workload: string, than: string, ours: string, atMost: number): Target {
  return { workload, ours, theirs: ours, than, atMost }
}
