import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { makeStoreDirectory } from '../durable/make-directory.js'
import { isErrno, StoreError } from '../errors.js'
import { HostFs } from '../fs/host/host-fs.js'
import type { AttributeMode } from '../fs/spec.js'
import { hasCapability } from '../sys/capabilities.js'
import { libcAvailable } from '../sys/libc.js'
import type { Probe } from '../sys/probe.js'

/**
 * How one driver's layers in one root keep attributes that the operating system may refuse. A tree that is written one
 * way cannot be read the other way. So the choice is made with the first layer and kept in
 * `<root>/layerstack/<driver>.json`. A root with layers and without this file is Docker's own: everything is in the
 * inodes and in `trusted` xattrs.
 */
export interface AttributeSettings {
  readonly attributes: AttributeMode
  /** See `HostFsSpec.overlayXattrs`. */
  readonly overlayXattrs: 'trusted' | 'user'
}

const DOCKERS: AttributeSettings = { attributes: 'native', overlayXattrs: 'trusted' }
const NATIVE_NEEDS = 'CAP_CHOWN, CAP_FOWNER and CAP_DAC_OVERRIDE'

/** Options (`driverOptions`) of drivers that keep their layers in directories. */
export interface AttributeOptions {
  /**
   * Where owners, modes and devices are kept, for a root without layers. A root that already keeps them another way is
   * refused. A root with `override` may pass from an ordinary user to root; only userspace engines serve it.
   * @default 'native' if this process may give files away and make devices, and the file system has xattrs; else
   *   'override' if it has user xattrs; else 'sidecar'
   */
  readonly attributes?: AttributeMode
}

/** Throws `TypeError` for an unknown option or an invalid value. */
export function attributeOptions(
  driver: string,
  given: Readonly<Record<string, unknown>> = {},
): AttributeOptions {
  for (const [name, value] of Object.entries(given)) {
    if (name !== 'attributes') throw new TypeError(`${driver} has no option ${name}`)
    if (value !== undefined && !isAttributes(value)) {
      throw new TypeError(
        `${driver}: attributes must be 'native', 'override' or 'sidecar', not ${String(value)}`,
      )
    }
  }
  return given
}

export interface AttributeQuestion {
  readonly root: string
  readonly driver: string
  readonly holdsLayers: boolean
  /** Absent if nothing may be written to probe. */
  readonly probe: Probe | undefined
  /** The caller's choice. A root that keeps attributes another way is refused. */
  readonly wanted?: AttributeMode | undefined
  /** Whether layers of this driver are in overlay form. */
  readonly overlay: boolean
}

/**
 * Returns the root's settings, else the best settings for this system. Throws `ENGINE_UNSUPPORTED` if this process
 * cannot use them.
 */
export async function attributeSettingsOf(question: AttributeQuestion): Promise<AttributeSettings> {
  const { root, driver, holdsLayers, probe, wanted } = question
  const kept = readSettings(root, driver) ?? (holdsLayers ? DOCKERS : undefined)
  const attributeSettings = kept ?? bestSettings(probe, wanted)
  if (wanted !== undefined && wanted !== attributeSettings.attributes) {
    throw refused(
      `the layers of this root keep attributes as '${attributeSettings.attributes}', not as '${wanted}'`,
    )
  }
  const reason =
    (kept === undefined ? whyNotNew(attributeSettings, probe) : undefined) ??
    whyNot(attributeSettings, question)
  if (reason !== undefined) throw refused(reason)
  if (kept === undefined && probe !== undefined) await writeSettings(root, driver, attributeSettings)
  return attributeSettings
}

function bestSettings(probe: Probe | undefined, wanted: AttributeMode | undefined): AttributeSettings {
  if (probe === undefined) return DOCKERS
  return {
    attributes: wanted ?? bestAttributes(probe),
    overlayXattrs: probe.trustedXattrs.works ? 'trusted' : 'user',
  }
}

function bestAttributes(probe: Probe): AttributeMode {
  if (probe.chown.works && probe.deviceNodes.works && probe.fileCapabilities.works) return 'native'
  return probe.userXattrs.works ? 'override' : 'sidecar'
}

/** Applies to new roots only: an existing root keeps its mode, and whatever attributes it can. */
function whyNotNew({ attributes }: AttributeSettings, probe: Probe | undefined): string | undefined {
  const xattrs = attributes === 'native' ? probe?.fileCapabilities : probe?.userXattrs
  if (attributes === 'sidecar' || xattrs?.works !== false) return undefined
  return `attributes '${attributes}' need xattrs, which this file system does not have (${xattrs.reason})`
}

/** Rows of `status()` on how attributes are kept. */
export function attributeRows(
  { attributes }: AttributeSettings,
  probe: Probe | undefined,
): [string, string][] {
  const rows: [string, string][] = [['Attributes', attributes]]
  if (probe === undefined || attributes === 'sidecar') return rows
  const { unitNs, latest } = probe.times
  const limit = latest === undefined ? '' : `, until ${new Date(latest * 1000).toISOString().slice(0, 10)}`
  rows.push([
    'Timestamps',
    `precise to ${unitNs < BILLION ? `${unitNs} ns` : `${unitNs / BILLION} s`}${limit}`,
  ])
  if (attributes === 'native' && !probe.fileCapabilities.works) {
    rows.push(['File capabilities', `lost: ${probe.fileCapabilities.reason}`])
  }
  return rows
}

const BILLION = 1_000_000_000

function whyNot(
  attributeSettings: AttributeSettings,
  { root, probe, overlay }: AttributeQuestion,
): string | undefined {
  if (attributeSettings.attributes === 'native') {
    if (probe !== undefined && !probe.chown.works) {
      return `the layers of this root keep owners in their inodes, which needs ${NATIVE_NEEDS} (${probe.chown.reason})`
    }
    if (overlay && attributeSettings.overlayXattrs === 'trusted' && !trustedReadable(probe)) {
      return 'the layers of this root are marked with trusted xattrs, which need CAP_SYS_ADMIN and koffi'
    }
  }
  if (attributeSettings.attributes === 'override' && !libcAvailable().works) {
    return `the layers of this root keep attributes in xattrs, which needs native system calls (${libcAvailable().reason})`
  }
  return whyNotOpen(attributeSettings, root)
}

function whyNotOpen({ attributes }: AttributeSettings, root: string): string | undefined {
  try {
    new HostFs({ kind: 'host', root, attributes, readOnly: true }).close()
    return undefined
  } catch (error) {
    return `attributes '${attributes}' do not work in this root: ${(error as Error).message}`
  }
}

function trustedReadable(probe: Probe | undefined): boolean {
  return probe?.trustedXattrs.works ?? (libcAvailable().works && hasCapability('CAP_SYS_ADMIN'))
}

function readSettings(root: string, driver: string): AttributeSettings | undefined {
  const path = pathOf(root, driver)
  try {
    const { attributes, overlayXattrs } = JSON.parse(readFileSync(path, 'utf8')) as Partial<AttributeSettings>
    if (isAttributes(attributes) && (overlayXattrs === 'trusted' || overlayXattrs === 'user')) {
      return { attributes, overlayXattrs }
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    if (!(error instanceof SyntaxError) && !isErrno(error, 'EISDIR')) throw error
  }
  throw new StoreError(
    'STORE_CORRUPT',
    `${path} is damaged: it does not say how the layers keep attributes`,
    { path },
  )
}

function isAttributes(value: unknown): value is AttributeMode {
  return value === 'native' || value === 'override' || value === 'sidecar'
}

async function writeSettings(
  root: string,
  driver: string,
  attributeSettings: AttributeSettings,
): Promise<void> {
  const path = pathOf(root, driver)
  makeStoreDirectory(dirname(path), 0o710)
  await writeFileAtomic(path, `${JSON.stringify(attributeSettings)}\n`, { mode: 0o644 })
}

function pathOf(root: string, driver: string): string {
  return join(root, 'layerstack', `${driver}.json`)
}

function refused(reason: string): StoreError {
  return new StoreError('ENGINE_UNSUPPORTED', reason, {
    hint: 'open the root with the privileges it was made with, or make a new root',
  })
}
