import type { Reason } from '../support/needs.js'

/**
 * An attack tries to break one promise of the store, round after round, and counts what it did. It uses the public
 * interface and real kernels, processes and file systems.
 *
 * `attacks.ts` lists all of them. `npm run torture` runs them for minutes, `torture.test.ts` for a few seconds each.
 */
export interface Attack {
  /** The promise under attack and the setting, for example `kill consume on overlay2 of the kernel`. */
  readonly name: string
  /** Why it cannot run here. */
  readonly reason?: Reason
  /** It judges times, or waits for rare races: `npm run torture` alone runs it. @default false */
  readonly soaks?: boolean
  run(budget: Budget): Promise<AttackReport>
}

export interface Budget {
  /** Every random choice derives from it, so that the same seed repeats the same attack as far as scheduling allows. */
  readonly seed: number
  /** An empty directory that belongs to the attack. The caller unmounts and removes it. */
  readonly scratch: string
  /** Whether to start another round. The first round always runs. */
  hasTime(): boolean
}

export interface AttackReport {
  /** What was done, in numbers: `{ kills: 354, 'lost containers': 0 }`. */
  readonly figures: Readonly<Record<string, number>>
  /** One sentence for each broken promise, with what is needed to see it again. Empty when every promise held. */
  readonly violations: readonly string[]
}
