import type { TestOptions } from 'vitest'
import { hasCapability } from '#layerstack/sys/capabilities.js'
import { libcAvailable } from '#layerstack/sys/libc.js'
import { findProgram } from './program.js'

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

export function notInstalled(...programs: readonly string[]): Reason {
  const missing = programs.filter((program) => findProgram(program) === undefined)
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`
}

export const noCalls: Reason = libcAvailable().reason
export const noMounts: Reason = noCalls ?? noCapability('CAP_SYS_ADMIN')
export const noDevices: Reason = noCalls ?? noCapability('CAP_MKNOD')
export const noLinux: Reason = process.platform === 'linux' ? undefined : 'this is no Linux'
export const noDaemon: Reason =
  noLinux ?? (process.getuid?.() === 0 ? noMounts : 'an ordinary user runs no daemon')

function noCapability(name: Parameters<typeof hasCapability>[0]): Reason {
  return hasCapability(name) ? undefined : `this process has no ${name}`
}
