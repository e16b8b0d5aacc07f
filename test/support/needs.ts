import { hasCapability } from '#layerstack/sys/capabilities.js'
import { libcAvailable } from '#layerstack/sys/libc.js'
import { findProgram } from './program.js'
import type { Reason } from './unless.js'

export { unless, type Reason } from './unless.js'

export function notInstalled(...programs: readonly string[]): Reason {
  const missing = programs.filter((program) => findProgram(program) === undefined)
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`
}

export const noCalls: Reason = libcAvailable().reason
export const noMounts: Reason = noCalls ?? noCapability('CAP_SYS_ADMIN')
export const noDevices: Reason = noCalls ?? noCapability('CAP_MKNOD')
export const noLinux: Reason = process.platform === 'linux' ? undefined : 'this system is not Linux'
export const noRoot: Reason =
  process.getuid?.() === 0 ? undefined : 'only root can change the owners of files'
export const noDaemon: Reason = noLinux ?? (process.getuid?.() === 0 ? noMounts : 'daemons need root')

function noCapability(name: Parameters<typeof hasCapability>[0]): Reason {
  return hasCapability(name) ? undefined : `this process has no ${name}; run as root`
}
