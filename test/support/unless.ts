import type { TestOptions } from 'vitest'

declare module 'vitest' {
  interface TaskMeta {
    /** Why it was skipped. `test/run.mjs` prints it. */
    reason?: string
  }
}

/** Why something cannot be tried here; `undefined` where it can. */
export type Reason = string | undefined

/** For a `describe` or an `it` that cannot be tried for any of these reasons: `it('does', unless(noMounts), …)`. */
export function unless(...reasons: readonly Reason[]): TestOptions {
  const reason = reasons.find((each) => each !== undefined)
  return reason === undefined ? {} : { skip: true, meta: { reason } }
}
