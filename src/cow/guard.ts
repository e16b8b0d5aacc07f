import { setTimeout as sleep } from 'node:timers/promises'

/** Lets one process at a time change the store. */
export interface Guard {
  /** Takes the guard until `release`. Returns `false` while another process has it. The holder must not call this. */
  tryAcquire(): boolean
  release(): void
  /** Gives up the place in the queue that a failed `tryAcquire` may have taken. */
  forgo(): void
  /** For the holder: whether another process waits for the guard. */
  isWanted(): boolean
}

/** How long to wait for other processes that change a store, in ms. */
export const PATIENCE = 60_000
/** The pause between attempts to take the guard, in ms. */
export const WAIT = 2

/** Takes the guard without blocking this thread. Resolves to `false`, and leaves the queue, after `PATIENCE` ms. */
export async function acquireGuard(guard: Pick<Guard, 'tryAcquire' | 'forgo'>): Promise<boolean> {
  for (const end = Date.now() + PATIENCE; !guard.tryAcquire(); await sleep(WAIT)) {
    if (Date.now() < end) continue
    guard.forgo()
    return false
  }
  return true
}
