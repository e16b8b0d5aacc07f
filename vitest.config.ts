import { defineConfig } from 'vitest/config'

/** Tests run what users run: the compiled package in `dist/`, loaded by Node itself. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    server: { deps: { external: [/\/dist\//] } },
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
