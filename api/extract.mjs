#!/usr/bin/env node
/**
 * Writes the public names and types of each entry point of the package to `api/*.api.md`, to be reviewed with the change
 * that alters them. With `--check`, changes nothing, and fails if a report is out of date or a reachable name is not
 * exported. Reads the compiled types in `dist`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor'

const ENTRIES = { layerstack: 'index', drivers: 'drivers/index', conformance: 'conformance/index' }
const project = resolve(import.meta.dirname, '..')
const isCheck = process.argv.includes('--check')
const scratch = mkdtempSync(join(tmpdir(), 'layerstack-api-'))
/** Names that an entry point above exports. The conformance suite need not repeat the contract. */
const exported = new Set()
const ignored = { logLevel: ExtractorLogLevel.None }

try {
  for (const [name, entry] of Object.entries(ENTRIES)) if (!extract(name, entry)) process.exitCode = 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

function extract(name, entry) {
  const types = join(project, 'dist', `${entry}.d.ts`)
  const config = ExtractorConfig.prepare({
    packageJsonFullPath: join(project, 'package.json'),
    configObjectFullPath: undefined,
    configObject: {
      projectFolder: project,
      mainEntryPointFilePath: types,
      compiler: { overrideTsconfig: { compilerOptions: compilerOptions(), files: [types] } },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder: join(project, 'api'),
        reportTempFolder: scratch,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      newlineKind: 'lf',
      messages: {
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.Error },
          'ae-missing-release-tag': ignored,
          'ae-unresolved-link': ignored,
        },
        // The comments are TypeDoc's.
        tsdocMessageReporting: { default: ignored },
      },
    },
  })
  const { succeeded } = Extractor.invoke(config, {
    localBuild: !isCheck,
    messageCallback: (message) => handle(message, name),
  })
  const report = readFileSync(join(scratch, `${name}.api.md`), 'utf8')
  for (const match of report.matchAll(/^export (?:declare )?(?:abstract )?\w+ (\w+)/gm))
    exported.add(match[1])
  return succeeded
}

/** Says what to do, in place of the tool's own advice. */
function handle(message, entry) {
  if (message.messageId === 'ae-forgotten-export' && entry === 'conformance') {
    const name = /The symbol "(\w+)"/.exec(message.text)?.[1]
    if (exported.has(name)) message.logLevel = ExtractorLogLevel.None
  }
  if (message.messageId !== 'console-api-report-not-copied') return
  message.handled = true
  console.error('The public types differ from api/*.api.md. Run `npm run api`, and review the difference.')
}

function compilerOptions() {
  return {
    target: 'ES2023',
    lib: ['ES2023', 'ESNext.Disposable'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    types: ['node'],
    typeRoots: [join(project, 'node_modules/@types')],
    strict: true,
    skipLibCheck: true,
  }
}
