import { contenders, type Contender } from '../conformance/contenders.js'
import { noCalls, type Reason } from '../support/needs.js'
import type { Rules } from './differences.js'

/** Two ways of keeping layers that must do the same. */
export interface Pair {
  readonly name: string
  readonly sides: readonly [Contender, Contender]
  readonly rules: Rules
  readonly reason: Reason
}

const UNION = 'overlay2 in userspace'
const KERNEL = 'overlay2 of the kernel'

export const pairs: readonly Pair[] = [
  pair(UNION, KERNEL),
  pair('vfs with attributes kept aside', 'overlay2 in userspace with attributes kept aside'),
  ...contenders.filter(({ name }) => name !== 'vfs').map(({ name }) => pair('vfs', name)),
]

export function pairNamed(name: string): Pair {
  const found = pairs.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no pair is called ${name}`)
  return found
}

function pair(one: string, other: string): Pair {
  const sides = [contender(one), contender(other)] as const
  const overlays = sides.filter(({ name }) => name.startsWith('overlay2')).length
  return {
    name: `${one} and ${other}`,
    sides,
    rules: {
      sameDiffs: overlays !== 1,
      copiesUp: overlays === 2,
      interchange: overlays === 2 && sides[0].driverOptions === sides[1].driverOptions,
      keptAside: sides.some(({ name }) => /kept aside|^btrfs in userspace/.test(name)),
    },
    reason: noCalls ?? sides[0].reason ?? sides[1].reason,
  }
}

function contender(name: string): Contender {
  const found = contenders.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no contender is called ${name}`)
  return found
}
