import { setTimeout as sleep } from 'node:timers/promises'

/** Keeps other processes from changing the store. */
export interface Guard {
  /** Whether nobody else may, from now on until `release`. Not asked again before that. */
  tryAcquire(): boolean
  release(): void
  /** Nobody waits for it any more. */
  forgo(): void
}

/** How long to wait for others that change a store, in ms. */
export const PATIENCE = 60_000
/** How often to look whether they are done, in ms. */
export const WAIT = 2

/** Waits for others while this thread goes on; `false` when they took too long, and nobody waits any more. */
export async function acquireGuard(guard: Pick<Guard, 'tryAcquire' | 'forgo'>): Promise<boolean> {
  for (const end = Date.now() + PATIENCE; !guard.tryAcquire(); await sleep(WAIT)) {
    if (Date.now() < end) continue
    guard.forgo()
    return false
  }
  return true
}
