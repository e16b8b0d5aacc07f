import { existsSync, lstatSync, mkdirSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno, StoreError } from '../../errors.js'
import { mountOverlay } from '../../sys/mount-overlay.js'
import { unmountIfMounted } from '../../sys/mount.js'
import { isMountPoint } from '../../sys/mount-table.js'
import type { AttributeSettings } from '../attribute-mode.js'
import { releaseMount } from '../mounts.js'
import { isStillWritten } from '../refusals.js'
import type { OpenedLayer } from './opened-layer.js'

/** Each changes what an upper directory says, and would break the diff that is read from it (moby#33733). */
const TURNED_OFF = ['redirect_dir', 'index', 'metacopy']
const PARAMETERS = '/sys/module/overlay/parameters'

export interface OverlaySettings {
  readonly keeping: AttributeSettings
  /** See `OverlayMount.flags`. */
  readonly mountFlags: number
}

/**
 * Mounts the layer on its `merged`, as Docker does, or finds it mounted there.
 * @param sole no other process holds the layer: what is mounted was left because a program writes to it
 */
export function mountLayer(
  layer: OpenedLayer,
  { keeping, mountFlags: flags }: OverlaySettings,
  sole: boolean,
): string {
  const { id, diff, work, merged, lowerLinks, readOnly, volatile } = layer
  if (isThere(merged) && isMountPoint(merged)) {
    if (sole && readOnly) throw isStillWritten(id, merged)
    return merged
  }
  if (!sole && !readOnly) {
    throw new StoreError(
      'LAYER_IN_USE',
      `another process has layer ${id} open where this one cannot see it`,
      {
        hint: 'it may run in another mount namespace',
      },
    )
  }
  const options = mountOptions(keeping)
  makeMountPoint(merged)
  try {
    if (readOnly) {
      mountOverlay(merged, { lowers: [diff, ...lowerLinks], options, flags })
    } else {
      forgetVolatile(work)
      if (volatile) options.push('volatile')
      mountOverlay(merged, { lowers: lowerLinks, upper: diff, work, options, flags })
    }
    return merged
  } catch (error) {
    rmdirSync(merged)
    throw error
  }
}

/** Undoes `mountLayer`. False where a program still writes to the mount, which stays. True when nothing is mounted. */
export function releaseLayer(merged: string): boolean {
  if (!isThere(merged)) return true
  if (!releaseMount(merged)) return false
  removeMountPoint(merged)
  return true
}

/** Undoes `mountLayer` for a layer that is being removed, whatever programs have open in it. */
export function detachLayer(merged: string): void {
  if (!isThere(merged)) return
  unmountIfMounted(merged)
  removeMountPoint(merged)
}

function removeMountPoint(merged: string): void {
  try {
    // Gone, it is unmounted in other mount namespaces too.
    rmdirSync(merged)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EBUSY')) throw error
  }
}

function mountOptions({ overlayXattrs }: AttributeSettings): string[] {
  // With userxattr the kernel turns redirects and metadata copies off by itself, and refuses to be told so.
  const turnedOff = overlayXattrs === 'user' ? ['index'] : TURNED_OFF
  const options = turnedOff.filter(isParameter).map((name) => `${name}=off`)
  return overlayXattrs === 'user' ? [...options, 'userxattr'] : options
}

const parameters = new Map<string, boolean>()

/** What the kernel knows stays as it is: the module has been used before. */
function isParameter(name: string): boolean {
  const known = parameters.get(name) ?? existsSync(join(PARAMETERS, name))
  parameters.set(name, known)
  return known
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function makeMountPoint(merged: string): void {
  try {
    mkdirSync(merged, 0o700)
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
}

/** A volatile mount leaves word that its content may be half on disk, and no other mount is let in until that is gone. */
export function forgetVolatile(work: string): void {
  const word = join(work, 'work', 'incompat')
  if (existsSync(word)) rmSync(word, { recursive: true, force: true })
}
