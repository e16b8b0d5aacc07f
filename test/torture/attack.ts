import type { Reason } from '../support/needs.js'

/**
 * An attack tries to break one promise of the store in rounds, and counts its actions. It uses the public interface and
 * real kernels, processes and filesystems.
 *
 * `attacks.ts` lists all of them. `npm run torture` runs them for minutes, `torture.test.ts` for a few seconds each.
 */
export interface Attack {
  /** The promise under attack and the setting, for example `kill consume on overlay2 of the kernel`. */
  readonly name: string
  /** Why it cannot run here. */
  readonly reason?: Reason
  /** Set if it measures times or waits for rare races: only `npm run torture` runs it. @default false */
  readonly soaks?: boolean
  run(budget: Budget): Promise<AttackReport>
}

export interface Budget {
  /** All random choices derive from it. The same seed repeats the same attack, as far as scheduling allows. */
  readonly seed: number
  /** An empty directory that belongs to the attack. The caller unmounts and removes it. */
  readonly scratch: string
  /** Whether to start another round. The first round always runs. */
  hasTime(): boolean
}

export interface AttackReport {
  /** Counts of actions and results: `{ kills: 354, 'lost containers': 0 }`. */
  readonly figures: Readonly<Record<string, number>>
  /** One message for each broken promise, with the facts needed to reproduce it. Empty if every promise held. */
  readonly violations: readonly string[]
}
