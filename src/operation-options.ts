import type { ProgressListener } from './progress.js'

/** Options that every long call accepts. */
export interface OperationOptions {
  /** Aborting rejects the call with the signal's reason and leaves the store as it was. */
  readonly signal?: AbortSignal | undefined
  /** Called on the caller's thread, at most a few tens of times per second for each layer. */
  readonly onProgress?: ProgressListener | undefined
}
