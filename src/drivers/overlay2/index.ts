/**
 * The driver `overlay2`, for a registry of your own and for the conformance suite.
 * @module
 */
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { StoreError } from '../../errors.js'
import { probe, type Probe } from '../../sys/probe.js'
import type { Driver, Engine } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { attributeSettingsOf, attributeRows, type AttributeSettings } from '../attribute-mode.js'
import { naiveDiff } from '../naive-diff.js'
import { Overlay2Layout } from './layout.js'
import { Overlay2Driver } from './overlay2-driver.js'
import { overlay2Options } from './options.js'

/** What overlayfs accepts. Docker stops at 125, where the layers' names no longer fit in a page of mount options. */
const MAX_LOWERS = 500
/** Always fits in that page, on a kernel before 6.7. */
const PAGE_LOWERS = 200

/**
 * Docker's overlay2, with the kernel's overlayfs or a userspace overlay over the same directories. Its options are
 * `Overlay2Options`.
 */
export const overlay2: DriverFactory = {
  name: 'overlay2',

  async open(options: DriverOpenOptions): Promise<Driver> {
    const { readOnly } = options
    // The kernel's mount table contains resolved paths only.
    const root = await realpath(options.root)
    const { attributes, mountFlags } = overlay2Options(options.driverOptions)
    const layout = new Overlay2Layout(join(root, 'overlay2'))
    if (!readOnly) await layout.make()
    const tried = readOnly ? undefined : probe(layout.home)
    const attributeSettings = await attributeSettingsOf({
      root,
      driver: 'overlay2',
      holdsLayers: layout.holdsLayers(),
      probe: tried,
      wanted: attributes,
      overlay: true,
    })
    const engine = engineFor(options.engine, attributeSettings, tried)
    const maxDepth = engine === 'kernel' && tried?.manyLowers.works === false ? PAGE_LOWERS : MAX_LOWERS
    const dType = tried?.dType.works ?? true
    const driver = new Overlay2Driver({
      root,
      engine,
      attributeSettings,
      attributeRows: attributeRows(attributeSettings, tried),
      mountFlags,
      readOnly,
      maxDepth,
      dType,
    })
    if (!readOnly) await driver.tidy()
    return naiveDiff(driver)
  },

  async holdsLayers(root: string): Promise<boolean> {
    return new Overlay2Layout(join(root, 'overlay2')).holdsLayers()
  },

  async supported(root: string): Promise<DriverSupport> {
    const { overlay } = probe(root)
    return {
      engines: [
        { engine: 'kernel', works: overlay.works, reason: overlay.reason },
        { engine: 'userspace', works: true },
      ],
    }
  },
}

function engineFor(
  wanted: Engine | 'auto',
  attributeSettings: AttributeSettings,
  tried: Probe | undefined,
): Engine {
  if (wanted === 'userspace') return 'userspace'
  const reason = whyNoKernel(attributeSettings, tried)
  if (reason === undefined) return 'kernel'
  if (wanted === 'auto') return 'userspace'
  throw new StoreError('ENGINE_UNSUPPORTED', `overlay2 cannot use the kernel's overlayfs: ${reason}`, {
    hint: "use engine 'userspace', which shows the same layers and needs no privileges",
  })
}

function whyNoKernel({ attributes }: AttributeSettings, tried: Probe | undefined): string | undefined {
  if (tried === undefined) return 'a read-only store cannot create a mount point'
  if (attributes !== 'native') return `the layers of this root keep attributes as '${attributes}'`
  return tried.overlay.works
    ? undefined
    : (tried.overlay.reason ?? 'overlay mounts do not work on this system')
}
