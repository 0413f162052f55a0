FROM debian:13-slim AS a
ARG WHO=you
ENV GREETING=hi
RUN echo 1795375138
FROM debian:13-slim AS c
ARG WHO=you
ENV GREETING=hi
WORKDIR /w/$GREETING
RUN echo 1795375138 $WHO ${GREETING} \

  # comment
  fo\
ur

COPY <<A <<-"B" /d/
1
A
	2
	B
COPY <<'Q' /d/q
qq $WHO
Q
RUN <<EOF cat > /x && cat <<EOF2 > /y
xx
EOF
yy
EOF2
RUN <<'SCRIPT'
set -e
echo "in a script"
SCRIPT
RUN echo "<<NOT" && echo $((1<<2))
COPY --from=0 ["/etc/passwd", "/a b"]
RUN --mount=type=bind,"from=a",target=/z --mount="type=cache,target=/q r,sharing=locked" ls -d /z "/q r"
RUN ["echo", "json"]
ADD Dockerfile /h
FROM c
RUN echo 1795375138 a very long line that goes on and on and on, well beyond the hundred and twenty characters that are compared, until here and 'quoted'
COPY --chmod=0755 Dockerfile /copied
