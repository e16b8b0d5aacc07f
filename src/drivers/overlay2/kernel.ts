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

/** Each changes the content of an upper directory, and would break the diff that is read from it (moby#33733). */
const TURNED_OFF = ['redirect_dir', 'index', 'metacopy']
const PARAMETERS = '/sys/module/overlay/parameters'

export interface OverlaySettings {
  readonly attributeSettings: AttributeSettings
  /** See `OverlayMount.flags`. */
  readonly mountFlags: number
}

/**
 * Mounts the layer on its `merged`, as Docker does, or uses an existing mount there.
 * @param sole no other process holds the layer: an existing mount was left because a program writes to it
 */
export function mountLayer(
  layer: OpenedLayer,
  { attributeSettings, mountFlags: flags }: OverlaySettings,
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
      `another process has layer ${id} open, and its mount is not visible to this process`,
      {
        hint: 'wait until that process closes the layer, or end it; it may run in another mount namespace',
      },
    )
  }
  const options = mountOptions(attributeSettings)
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

/**
 * Undoes `mountLayer`. Returns false, and the mount stays, if a program still writes to it. Returns true if nothing is
 * mounted.
 */
export function releaseLayer(merged: string): boolean {
  if (!isThere(merged)) return true
  if (!releaseMount(merged)) return false
  removeMountPoint(merged)
  return true
}

/** Undoes `mountLayer` for a layer under removal, whatever programs have open in it. */
export function detachLayer(merged: string): void {
  if (!isThere(merged)) return
  unmountIfMounted(merged)
  removeMountPoint(merged)
}

function removeMountPoint(merged: string): void {
  try {
    // Removing the mount point also unmounts it in other mount namespaces.
    rmdirSync(merged)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EBUSY')) throw error
  }
}

function mountOptions({ overlayXattrs }: AttributeSettings): string[] {
  // With userxattr, the kernel turns off redirects and metadata copies itself, and refuses those options.
  const turnedOff = overlayXattrs === 'user' ? ['index'] : TURNED_OFF
  const options = turnedOff.filter(isParameter).map((name) => `${name}=off`)
  return overlayXattrs === 'user' ? [...options, 'userxattr'] : options
}

const parameters = new Map<string, boolean>()

/** Cached: the module is loaded by now, so its parameters do not change. */
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

/**
 * A volatile mount leaves a marker that its content may be incomplete on disk. The kernel refuses other mounts until
 * the marker is removed.
 */
export function forgetVolatile(work: string): void {
  const word = join(work, 'work', 'incompat')
  if (existsSync(word)) rmSync(word, { recursive: true, force: true })
}
