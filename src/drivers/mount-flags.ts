import { MS_NODEV, MS_NOEXEC, MS_NOSUID } from '../sys/mount.js'

/** Restrictions of a mount, as in mount(8). */
export type MountFlag = 'nodev' | 'nosuid' | 'noexec'

/** What drivers with kernel mounts can be told (`driverOptions`). */
export interface MountOptions {
  /**
   * Of the kernel engine: what programs cannot use in a mounted layer. `nodev` its device nodes, `nosuid` its set-ID bits
   * and file capabilities, `noexec` its programs. An empty list mounts as Docker does, which relies on the device cgroup.
   * @default ['nodev']
   */
  readonly mountFlags?: readonly MountFlag[]
}

const FLAGS: Readonly<Record<MountFlag, number>> = { nodev: MS_NODEV, nosuid: MS_NOSUID, noexec: MS_NOEXEC }
const BY_DEFAULT: readonly MountFlag[] = ['nodev']

/** The flags as mount(2) takes them. Throws `TypeError` for anything else. */
export function mountFlagsOf(driver: string, given: unknown = BY_DEFAULT): number {
  const isList = Array.isArray(given)
  const unknown = isList ? given.find((flag) => !Object.hasOwn(FLAGS, String(flag))) : given
  if (isList && unknown === undefined) {
    return (given as MountFlag[]).reduce((flags, flag) => flags | FLAGS[flag], 0)
  }
  throw new TypeError(
    `${driver}: mountFlags is a list of 'nodev', 'nosuid' and 'noexec', which has no ${JSON.stringify(unknown)}`,
  )
}
