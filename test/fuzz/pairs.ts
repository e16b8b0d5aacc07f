import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { contenders, type Contender } from '../conformance/contenders.js'
import { btrfsFixture, noBtrfs } from '../drivers/btrfs-fixture.js'
import { noCalls, type Reason } from '../support/needs.js'
import type { Rules } from './differences.js'

/** Two drivers or engines that must behave the same. */
export interface Pair {
  readonly name: string
  readonly sides: readonly [Side, Side]
  readonly rules: Rules
  readonly reason: Reason
}

interface Side extends Contender {
  /** Prepares the filesystem that both roots must be on. By default they are in the temporary directory. */
  readonly filesystem?: () => Promise<AsyncDisposable & { readonly path: string }>
}

const UNION = 'overlay2 in userspace'
const KERNEL = 'overlay2 of the kernel'

/** Sides that the conformance suite does not run on, or runs on a separate filesystem. */
const others: readonly Side[] = [
  { name: 'vfs with attributes kept beside', factory: vfs, driverOptions: { attributes: 'sidecar' } },
  {
    name: 'btrfs of the kernel',
    factory: btrfs,
    engine: 'kernel',
    filesystem: btrfsFixture,
    reason: noBtrfs,
  },
]

export const pairs: readonly Pair[] = [
  pair(UNION, KERNEL),
  pair('vfs with attributes kept aside', 'overlay2 in userspace with attributes kept aside'),
  ...[...contenders, ...others].filter(({ name }) => name !== 'vfs').map(({ name }) => pair('vfs', name)),
]

export function pairNamed(name: string): Pair {
  const found = pairs.find((each) => each.name === name)
  if (found === undefined) throw new Error(`unknown pair: ${name}`)
  return found
}

function pair(one: string, other: string): Pair {
  const sides = [sideOf(one), sideOf(other)] as const
  const overlays = sides.filter(({ name }) => name.startsWith('overlay2')).length
  return {
    name: `${one} and ${other}`,
    sides,
    rules: {
      sameDiffs: overlays !== 1,
      copiesUp: overlays === 2,
      interchange: overlays === 2 && sides[0].driverOptions === sides[1].driverOptions,
      keptAside: sides.some(({ name }) => /kept|^btrfs in userspace/.test(name)),
    },
    reason: noCalls ?? sides[0].reason ?? sides[1].reason,
  }
}

function sideOf(name: string): Side {
  const found = [...contenders, ...others].find((each) => each.name === name)
  if (found === undefined) throw new Error(`unknown contender: ${name}`)
  return found
}
