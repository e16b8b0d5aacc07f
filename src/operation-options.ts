import type { ProgressListener } from './progress.js'

/** What every long call takes. */
export interface OperationOptions {
  /** Aborting rejects the call with the signal's reason and leaves the store as it was. */
  readonly signal?: AbortSignal | undefined
  /** Called on the caller's thread, at most some tens of times a second for each layer. */
  readonly onProgress?: ProgressListener | undefined
}
