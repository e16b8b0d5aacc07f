import { MS_NODEV, MS_NOEXEC, MS_NOSUID } from '../sys/mount.js'

/** Restrictions of a mount, as in mount(8). */
export type MountFlag = 'nodev' | 'nosuid' | 'noexec'

/** Options (`driverOptions`) of drivers with kernel mounts. */
export interface MountOptions {
  /**
   * Kernel engine only: what programs cannot use in a mounted layer. `nodev` disables device nodes, `nosuid` disables
   * set-ID bits and file capabilities, `noexec` disables execution. An empty list mounts as Docker does, which relies
   * on the device cgroup.
   * @default ['nodev']
   */
  readonly mountFlags?: readonly MountFlag[]
}

const FLAGS: Readonly<Record<MountFlag, number>> = { nodev: MS_NODEV, nosuid: MS_NOSUID, noexec: MS_NOEXEC }
const BY_DEFAULT: readonly MountFlag[] = ['nodev']

/** Returns the flags for mount(2). Throws `TypeError` for anything else. */
export function mountFlagsOf(driver: string, given: unknown = BY_DEFAULT): number {
  const isList = Array.isArray(given)
  const unknown = isList ? given.find((flag) => !Object.hasOwn(FLAGS, String(flag))) : given
  if (isList && unknown === undefined) {
    return (given as MountFlag[]).reduce((flags, flag) => flags | FLAGS[flag], 0)
  }
  throw new TypeError(
    `${driver}: mountFlags must be a list of 'nodev', 'nosuid' and 'noexec', not ${JSON.stringify(unknown)}`,
  )
}
