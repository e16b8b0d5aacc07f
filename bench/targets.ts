import { contenderOf, totals, type Run } from './result.js'
import { median, ratios } from './statistics.js'

/** What the project wants to reach: a ratio of medians, round by round, in one run. */
export interface Target {
  readonly work: string
  readonly workload: string
  readonly ours: string
  readonly theirs: string
  /** Ours may take as many times what theirs takes. */
  readonly atMost: number
}

export interface Standing extends Target {
  readonly found: number
  readonly reached: boolean
}

const KERNEL = 'overlay2/kernel'
const USERSPACE = 'overlay2/userspace'
const MOUNT = 'overlay2/kernel mount'

export const targets: readonly Target[] = [
  ...times('cow/first-write 4 KiB', MOUNT, { overlayfs: 1 }, 'copy-up through the mount'),
  ...times('cow/first-write 1 MiB', MOUNT, { overlayfs: 1 }, 'copy-up through the mount'),
  ...times('cow/first-write 4 KiB', KERNEL, { overlayfs: 1.3 }, 'copy-up through LayerFs'),
  ...times('cow/first-write 1 MiB', KERNEL, { overlayfs: 1.3 }, 'copy-up through LayerFs'),
  ...times('container/driver on 1 layer', KERNEL, { 'mkdir + mount + umount + rmdir': 1.5 }),
  ...times('container/driver on 20 layers', KERNEL, { 'mkdir + mount + umount + rmdir': 1.5 }),
  ...times('container/driver on 128 layers', KERNEL, { 'mkdir + mount + umount + rmdir': 1.5 }),
  ...times('cow/open-read-close 1 layer', USERSPACE, { 'fuse-overlayfs': 1 / 3 }),
  ...times('cow/create 4 KiB', USERSPACE, { 'fuse-overlayfs': 1 / 3 }),
  ...times('cow/first-write 4 KiB', USERSPACE, { 'fuse-overlayfs': 1 / 3 }, 'copy-up in userspace'),
]

/** Limits for every workload. */
export const limits = { peakMemory: 200e6, loopDelay: 0.05 }

export function standings({ results }: Run): Standing[] {
  return targets.flatMap((target) => {
    const result = results.find(({ workload }) => workload === target.workload)
    const ours = result && contenderOf(result, target.ours)
    const theirs = result && contenderOf(result, target.theirs)
    if (ours === undefined || theirs === undefined) return []
    const found = median(ratios(totals(ours), totals(theirs)))
    // What is no difference that a table would show is none.
    return [{ ...target, found, reached: found <= target.atMost * 1.05 }]
  })
}

export interface Excess {
  readonly workload: string
  readonly contender: string
  readonly peakMemory?: number
  readonly loopDelay?: number
}

/** Which drivers took more memory, or held the event loop for longer, than they should. */
export function excesses({ results }: Run): Excess[] {
  return results.flatMap(({ workload, contenders }) =>
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

function times(
  workload: string,
  ours: string,
  theirs: Readonly<Record<string, number>>,
  work = workload,
): Target[] {
  return Object.entries(theirs).map(([name, atMost]) => ({ work, workload, ours, theirs: name, atMost }))
}
