import { setTimeout as sleep } from 'node:timers/promises'

/** Lets one process at a time change the store. */
export interface Guard {
  /** Takes the guard and keeps it until `release`; `false` while another process has it. Not called by its holder. */
  tryAcquire(): boolean
  release(): void
  /** Gives up the place in the queue that a failed `tryAcquire` may have taken. */
  forgo(): void
  /** Asked by the holder: another process waits for the guard. */
  isWanted(): boolean
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
