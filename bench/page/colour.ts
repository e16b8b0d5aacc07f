import type { Contender } from '../contender.js'
import type { Run } from '../result.js'

/** The appearance of a contender on all charts of the page: a colour of the style sheet, and a dash pattern. */
export interface Look {
  readonly colour: string
  readonly dash: string
}

/** The number of `--driver-1`, `--driver-2` … in the style sheet. */
const COLOURS = 7

const SOLID = ''
const BROKEN = ['6 4', '2 3', '10 3 2 3']

/**
 * Returns the appearance of each contender. Each driver has its own colour, which its `mount` and `volatile` variants
 * share. All floors are grey. All peers share one colour.
 */
export function looksOf({ results }: Run): (name: string, kind: Contender['kind']) => Look {
  const names = { driver: new Set<string>(), floor: new Set<string>(), peer: new Set<string>() }
  for (const { contenders } of results) {
    for (const { name, kind } of contenders) names[kind].add(kind === 'driver' ? withoutMount(name) : name)
  }
  const [drivers, peers] = [[...names.driver], [...names.peer]]
  return (name, kind) => {
    switch (kind) {
      case 'driver': {
        const colour = `var(--driver-${(drivers.indexOf(withoutMount(name)) % COLOURS) + 1})`
        return { colour, dash: name === withoutMount(name) ? SOLID : (BROKEN[0] as string) }
      }
      case 'floor':
        return { colour: 'var(--floor)', dash: SOLID }
      case 'peer':
        return { colour: 'var(--peer)', dash: BROKEN[peers.indexOf(name) % BROKEN.length] as string }
    }
  }
}

function withoutMount(name: string): string {
  return name.replace(/ (?:mount|volatile)$/, '')
}
